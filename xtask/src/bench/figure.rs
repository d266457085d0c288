//! One measured figure beside its goal.

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Goal {
    /// At most so much.
    AtMost(f64),
    /// At least so much.
    AtLeast(f64),
    /// None: it stands beside others, to compare.
    Beside,
}

/// A figure: the median of its runs.
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// Of goal and runs.
    pub unit: &'static str,
    /// What it has to be.
    pub goal: Goal,
    /// Each run's value, in the order of the runs.
    pub runs: Vec<f64>,
}

impl Figure {
    /// A figure of these runs.
    pub fn new(name: &'static str, unit: &'static str, goal: Goal, runs: Vec<f64>) -> Self {
        Self { name, unit, goal, runs }
    }

    /// The middle run; of an even number the upper middle.
    pub fn median(&self) -> f64 {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Whether the median is as it should be; false when nothing was measured.
    pub fn is_reached(&self) -> bool {
        match self.goal {
            Goal::AtMost(limit) => self.median() <= limit,
            Goal::AtLeast(limit) => self.median() >= limit,
            Goal::Beside => !self.runs.is_empty(),
        }
    }

    /// `at most 55 us`
    pub fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(limit) => format!("at most {} {}", number(limit), self.unit),
            Goal::AtLeast(limit) => format!("at least {} {}", number(limit), self.unit),
            Goal::Beside => "none, to compare".into(),
        }
    }

    /// `51.2 us (49.8 to 53.0)`
    pub fn measured_text(&self) -> String {
        let least = self.runs.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        format!("{} {} ({} to {})", number(self.median()), self.unit, number(least), number(most))
    }

    /// `reached` or `missed`.
    pub fn verdict(&self) -> &'static str {
        if self.is_reached() { "reached" } else { "missed" }
    }

    /// For the terminal.
    pub fn line(&self) -> String {
        let verdict = self.verdict();
        let verdict =
            if self.is_reached() { crate::report::good(verdict) } else { crate::report::bad(verdict) };
        format!("{verdict}  {}: {}, goal {}", self.name, self.measured_text(), self.goal_text())
    }
}

/// Three digits are enough, and thousands are set apart.
fn number(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let whole = format!("{value:.0}");
        let cut = whole.len() - 3;
        return format!("{},{}", &whole[..cut], &whole[cut..]);
    }
    let digits = if value.abs() >= 100.0 || value.fract() == 0.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_decides_over_the_goal() {
        let figure = Figure::new("a", "us", Goal::AtMost(55.0), vec![60.0, 50.0, 54.5]);
        assert!(figure.is_reached());
        assert_eq!(figure.measured_text(), "54.5 us (50 to 60)");
        assert!(!Figure::new("b", "", Goal::AtLeast(1.0), Vec::new()).is_reached());
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            ["17,820", "0.30", "42.1", "123"],
            [17820.0, 0.3, 42.06, 123.4].map(number).each_ref().map(String::as_str)
        );
    }
}
