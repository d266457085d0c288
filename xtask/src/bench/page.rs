//! docs/performance.md and its JSON.

use serde_json::{Value, json};

use super::figure::{Figure, Goal};

const START: &str =
    "<!-- measured by `cargo xtask bench`; what stands between these marks is overwritten -->";
const END: &str = "<!-- end of what was measured -->";
const HEAD: &str = "\
# Performance

Software keystore, plain HTTP on loopback, the load generator on the same cores as the server. Every figure is the median
of its runs; the least and the most stand in brackets. `cargo xtask bench` measures all of them and writes the tables.
";
const SECTION: &str = "<!-- group: ";

/// The figures of one group.
pub struct Section {
    /// As `--only` calls it.
    pub name: String,
    /// What is measured.
    pub what: &'static str,
    /// How it came out.
    pub figures: Vec<Figure>,
}

/// The page with the sections of the groups that were measured replaced. Those of other groups, and what people wrote around
/// all of them, stay. `order` has the names of all groups.
pub fn page(present: &str, sections: &[Section], order: &[String], machine: &[(&str, String)]) -> String {
    let (before, measured, after) = match (present.find(START), present.find(END)) {
        (Some(start), Some(end)) if start < end => {
            (&present[..start], &present[start + START.len()..end], &present[end + END.len()..])
        }
        _ if present.trim().is_empty() => (HEAD, "", "\n"),
        _ => (present, "", "\n"),
    };
    let mut texts: Vec<(String, String)> = measured
        .split(SECTION)
        .skip(1)
        .filter_map(|text| text.split_once(" -->"))
        .map(|(name, text)| (name.to_owned(), text.trim().to_owned()))
        .collect();
    for section in sections {
        texts.retain(|(name, _)| *name != section.name);
        texts.push((section.name.clone(), section.text(machine)));
    }
    let place = |name: &str| order.iter().position(|known| known == name).unwrap_or(order.len());
    texts.sort_by_key(|(name, _)| place(name));
    let texts = texts.iter().map(|(name, text)| format!("{SECTION}{name} -->\n{text}\n\n"));
    format!("{}\n\n{START}\n\n{}{END}{after}", before.trim_end(), texts.collect::<String>())
}

impl Section {
    fn text(&self, machine: &[(&str, String)]) -> String {
        let mut what = self.what.to_owned();
        if let Some(first) = what.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let machine: Vec<String> = machine.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut text = format!(
            "### {}\n\n{what}.\n\n| figure | goal | measured | verdict |\n|---|---|---|---|\n",
            self.name
        );
        for figure in &self.figures {
            let (name, goal, measured) = (figure.name, figure.goal_text(), figure.measured_text());
            text += &format!("| {name} | {goal} | {measured} | {} |\n", figure.verdict());
        }
        format!("{text}\n{}.", machine.join("; "))
    }
}

/// The same for programs.
pub fn json(sections: &[Section], machine: &[(&str, String)]) -> Value {
    let machine: serde_json::Map<String, Value> =
        machine.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let of_one = |section: &Section| -> Vec<Value> {
        let figures = section.figures.iter().map(|figure| {
            let goal = match figure.goal {
                Goal::AtMost(limit) => json!({ "at_most": limit }),
                Goal::AtLeast(limit) => json!({ "at_least": limit }),
                Goal::Beside => Value::Null,
            };
            json!({
                "group": section.name, "name": figure.name, "unit": figure.unit, "goal": goal,
                "median": figure.median(), "runs": figure.runs, "reached": figure.is_reached(),
            })
        });
        figures.collect()
    };
    let figures: Vec<Value> = sections.iter().flat_map(of_one).collect();
    json!({ "machine": machine, "figures": figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_measurement_replaces_the_old_one_of_its_group_and_nothing_else() {
        let order = ["startup", "memory"].map(str::to_owned);
        let section = |name: &str, run| Section {
            name: name.to_owned(),
            what: "until the first answer",
            figures: vec![Figure::new("start", "ms", Goal::AtMost(150.0), vec![run])],
        };
        let memory = page("", &[section("memory", 1.0)], &order, &[("commit", "a".into())]);
        let both = page(&memory, &[section("startup", 100.0)], &order, &[("commit", "b".into())]);
        let written = format!("{both}\n## Why\n\nBecause.\n");
        let again = page(&written, &[section("startup", 200.0)], &order, &[("commit", "c".into())]);
        assert!(again.starts_with("# Performance") && again.ends_with("## Why\n\nBecause.\n"));
        assert!(again.contains("commit a.") && again.contains("commit c.") && !again.contains("commit b"));
        assert!(again.contains("| start | at most 150 ms | 200 ms (200 to 200) | missed |"));
        assert!(again.find("### startup") < again.find("### memory"));
        assert_eq!(page(&again, &[section("startup", 200.0)], &order, &[("commit", "c".into())]), again);
    }
}
