//! What `cargo test -- --show-output` says.

/// The sum of all test programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Includes those that report themselves skipped.
    pub passed: u64,
    /// Includes those of doc tests.
    pub failed: u64,
    /// Marked `#[ignore]`.
    pub ignored: u64,
    /// Test and reason: `skipped: REASON` in a passing test's output.
    pub skipped: Vec<(String, String)>,
    /// The names of tests that failed.
    pub failures: Vec<String>,
    /// Whose output the present line belongs to.
    test: Option<String>,
}

impl Outcome {
    /// Takes in one line.
    pub fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
            self.test = Some(name.to_owned());
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.test = None;
            self.count(counts);
        } else if let Some(reason) = line.trim_start().strip_prefix("skipped: ") {
            let test = self.test.clone().unwrap_or_else(|| "a test".into());
            self.skipped.push((test, reason.to_owned()));
        } else if let Some(test) =
            line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED"))
        {
            self.failures.push(test.to_owned());
        }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
    fn count(&mut self, counts: &str) {
        let counts = counts.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
     Running tests/conformance.rs (target/debug/deps/conformance-0f)
running 3 tests
test a1 ... ok
test t3 ... FAILED
test aws_client ... ok
successes:
---- aws_client stdout ----
skipped: AWS_XKS_TEST_CLIENT names no checkout
failures:
    t3
test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s
test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn results_add_up_and_skips_carry_test_and_reason() {
        let mut outcome = Outcome::default();
        SAID.lines().for_each(|line| outcome.read(line));
        assert_eq!((outcome.passed, outcome.failed, outcome.ignored), (6, 1, 1));
        assert_eq!(outcome.failures, ["t3"]);
        let skipped = ("aws_client".to_owned(), "AWS_XKS_TEST_CLIENT names no checkout".to_owned());
        assert_eq!(outcome.skipped, [skipped]);
    }
}
