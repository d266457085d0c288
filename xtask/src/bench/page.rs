//! docs/performance.md and its JSON.

use serde_json::{Value, json};

use super::figure::{Figure, Goal};

const START: &str =
    "<!-- measured by `cargo xtask bench`; what stands between these marks is overwritten -->";
const END: &str = "<!-- end of what was measured -->";
const HEAD: &str = "\
# Performance

Software keystore, plain HTTP on loopback, the load generator on the same cores as the server. Every figure is the median
of its runs; the least and the most stand in brackets. `cargo xtask bench` measures all of them and writes the table.
";

/// The page with the measured part replaced; what people wrote around it stays.
pub fn page(present: &str, figures: &[Figure], machine: &[(&str, String)]) -> String {
    let (before, after) = match (present.find(START), present.find(END)) {
        (Some(start), Some(end)) if start < end => (&present[..start], &present[end + END.len()..]),
        _ if present.trim().is_empty() => (HEAD, "\n"),
        _ => (present, "\n"),
    };
    let mut text = format!("{}\n\n{START}\n\n", before.trim_end());
    for (name, value) in machine {
        text += &format!("- {name}: {value}\n");
    }
    text += "\n| figure | goal | measured | verdict |\n|---|---|---|---|\n";
    for figure in figures {
        let (name, goal, measured) = (figure.name, figure.goal_text(), figure.measured_text());
        text += &format!("| {name} | {goal} | {measured} | {} |\n", figure.verdict());
    }
    text + "\n" + END + after
}

/// The same for programs.
pub fn json(figures: &[Figure], machine: &[(&str, String)]) -> Value {
    let machine: serde_json::Map<String, Value> =
        machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let figures: Vec<Value> = figures
        .iter()
        .map(|figure| {
            let goal = match figure.goal {
                Goal::AtMost(limit) => json!({ "at_most": limit }),
                Goal::AtLeast(limit) => json!({ "at_least": limit }),
                Goal::Beside => Value::Null,
            };
            json!({
                "name": figure.name, "unit": figure.unit, "goal": goal, "median": figure.median(),
                "runs": figure.runs, "reached": figure.is_reached(),
            })
        })
        .collect();
    json!({ "machine": machine, "figures": figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_measurement_replaces_the_old_one_and_nothing_else() {
        let figure = |runs| [Figure::new("start", "ms", Goal::AtMost(150.0), runs)];
        let first = page("", &figure(vec![100.0]), &[("commit", "a".into())]);
        let written = format!("{first}\n## Why\n\nBecause.\n");
        let second = page(&written, &figure(vec![200.0]), &[("commit", "b".into())]);
        assert!(second.starts_with("# Performance") && second.ends_with("## Why\n\nBecause.\n"));
        assert!(second.contains("- commit: b") && !second.contains("- commit: a"));
        assert!(second.contains("| start | at most 150 ms | 200 ms (200 to 200) | missed |"));
        assert_eq!(page(&second, &figure(vec![200.0]), &[("commit", "b".into())]), second);
    }
}
