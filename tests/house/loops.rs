//! Circles of a graph.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::graph::Graph;

/// For each group of files that reach each other, the edges between them.
pub fn circles(graph: &Graph) -> Vec<Vec<(PathBuf, PathBuf, String)>> {
    let mut done: BTreeSet<&PathBuf> = BTreeSet::new();
    let mut found = Vec::new();
    for file in graph.keys() {
        if done.contains(file) {
            continue;
        }
        let reached = from(graph, file);
        let group: BTreeSet<&PathBuf> =
            reached.iter().copied().filter(|other| from(graph, other).contains(file)).collect();
        if group.contains(file) {
            let edges = group.iter().flat_map(|one| graph[*one].iter().map(|(to, by)| (*one, to, by)));
            let within = edges.filter(|(_, to, _)| group.contains(to));
            found.push(within.map(|(one, to, by)| (one.clone(), to.clone(), by.clone())).collect());
            done.extend(&group);
        }
    }
    found
}

/// All that is reached from a file by an edge or more.
fn from<'a>(graph: &'a Graph, file: &PathBuf) -> BTreeSet<&'a PathBuf> {
    let mut reached = BTreeSet::new();
    let uses = |file| graph.get(file).into_iter().flat_map(|uses| uses.keys());
    let mut open: Vec<&PathBuf> = uses(file).collect();
    while let Some(next) = open.pop() {
        if reached.insert(next) {
            open.extend(uses(next));
        }
    }
    reached
}

#[test]
fn a_circle_is_found_and_a_way_that_ends_is_not() {
    let graph: Graph = [("a", vec!["b"]), ("b", vec!["c"]), ("c", vec!["b"]), ("d", vec!["a"])]
        .into_iter()
        .map(|(from, to)| {
            (PathBuf::from(from), to.into_iter().map(|to| (PathBuf::from(to), to.to_owned())).collect())
        })
        .collect();
    let edge = |from: &str, to: &str| (PathBuf::from(from), PathBuf::from(to), to.to_owned());
    assert_eq!(circles(&graph), [vec![edge("b", "c"), edge("c", "b")]]);
}
