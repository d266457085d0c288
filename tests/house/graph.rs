//! Which file uses which, by `use` and by paths. A name that is handed on (`pub use`) is that of the file that declares it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use crate::modules::{Crate, Module, Name};

/// Files, those that each uses, and one of the paths by which it does.
pub type Graph = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// A name that leads to itself is no name.
const DEPTH: usize = 16;

/// All edges of a crate.
pub fn of(one: &Crate) -> Graph {
    let mut graph = Graph::new();
    for (name, module) in &one.modules {
        let mut paths = Paths::default();
        module.items.iter().for_each(|item| paths.visit_item(item));
        // What is only handed on isn't used here.
        let here = |called: &str| paths.0.iter().any(|path| path[0] == called);
        let imports = module.imports.iter().filter(|import| !import.handed_on || here(&import.called));
        let imports: Vec<_> = imports.map(|import| import.path.clone()).collect();
        let used = imports
            .into_iter()
            .chain(module.globs.iter().cloned())
            .chain(paths.0.into_iter().filter(|path| path.len() > 1));
        let uses = graph.entry(module.file.clone()).or_default();
        for path in used {
            if let Some(file) = place(one, name, &path, 0).filter(|file| **file != module.file) {
                uses.insert(file.clone(), path.join("::"));
            }
        }
    }
    graph
}

/// Where what a path names, as seen from a module, is declared; `None` for other crates' and for what the language has.
fn place<'a>(one: &'a Crate, from: &Name, path: &[String], depth: usize) -> Option<&'a PathBuf> {
    let (first, mut rest) = path.split_first()?;
    let mut at = match first.as_str() {
        "crate" => Name::new(),
        "self" => from.clone(),
        "super" => from.split_last()?.1.to_vec(),
        child => {
            let mut name = from.clone();
            name.push(child.to_owned());
            one.modules.contains_key(&name).then_some(name)?
        }
    };
    if depth > DEPTH {
        return None;
    }
    while let Some((next, after)) = rest.split_first() {
        if next == "super" {
            at.pop()?;
            rest = after;
            continue;
        }
        let mut child = at.clone();
        child.push(next.clone());
        if one.modules.contains_key(&child) {
            at = child;
            rest = after;
            continue;
        }
        let module = one.modules.get(&at)?;
        return handed_on(one, module, &at, next, after, depth).or(Some(&module.file));
    }
    one.modules.get(&at).map(|module| &module.file)
}

/// A name that a module doesn't declare but has from another.
fn handed_on<'a>(
    one: &'a Crate,
    module: &'a Module,
    at: &Name,
    name: &str,
    after: &[String],
    depth: usize,
) -> Option<&'a PathBuf> {
    if module.declared.contains(name) {
        return None;
    }
    if let Some(import) = module.imports.iter().find(|import| import.called == name) {
        let whole: Vec<String> = import.path.iter().chain(after).cloned().collect();
        return place(one, at, &whole, depth + 1);
    }
    module.globs.iter().find_map(|glob| {
        let whole: Vec<String> = glob.iter().cloned().chain([name.to_owned()]).collect();
        let file = place(one, at, &whole, depth + 1)?;
        let declares = |module: &Module| module.file == *file && module.declared.contains(name);
        one.modules.values().any(declares).then_some(file)
    })
}

/// All paths of an item, those in macros' arguments too.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'a> Visit<'a> for Paths {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, it: &'a syn::Macro) {
        tokens(it.tokens.clone(), &mut self.0);
        syn::visit::visit_macro(self, it);
    }

    fn visit_expr_call(&mut self, it: &'a syn::ExprCall) {
        if !crate::modules::is_cfg_test(&it.attrs) {
            syn::visit::visit_expr_call(self, it);
        }
    }

    fn visit_item_use(&mut self, _: &'a syn::ItemUse) {}

    fn visit_visibility(&mut self, _: &'a syn::Visibility) {}
}

/// Words with `::` between them.
fn tokens(stream: TokenStream, paths: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in stream {
        match token {
            TokenTree::Ident(word) if colons == 2 => path.push(word.to_string()),
            TokenTree::Ident(word) => {
                paths.push(std::mem::replace(&mut path, vec![word.to_string()]));
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Group(group) => {
                tokens(group.stream(), paths);
                paths.push(std::mem::take(&mut path));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => paths.push(std::mem::take(&mut path)),
        }
        colons = 0;
    }
    paths.push(path);
    paths.retain(|path| !path.is_empty());
}
