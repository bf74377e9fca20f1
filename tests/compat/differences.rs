//! Where Ringmaster is meant to differ from Circus 0.19. Each reason is explained in `docs/COMPATIBILITY.md` under its
//! name, and a difference that no longer occurs is an error like one that is not listed.

use crate::replay::{Finding, What};

/// One intended difference.
#[derive(Debug)]
pub struct Difference {
    pub scenario: &'static str,
    /// Numbers of the steps; empty for what belongs to the whole transcript.
    pub steps: &'static [usize],
    pub what: What,
    /// Part of what is seen instead; empty when that varies.
    pub instead: &'static str,
    /// Name of the reason in `docs/COMPATIBILITY.md`.
    pub reason: &'static str,
    /// Whether it always occurs; some depend on which of two things comes first.
    pub always: bool,
}

/// All of them, by scenario.
pub const DIFFERENCES: &[Difference] = &[];

/// What is wrong: differences that nobody intended, and intended ones that did not occur.
pub fn judge(scenario: &str, found: &[Finding]) -> Vec<String> {
    let intended: Vec<&Difference> = DIFFERENCES
        .iter()
        .filter(|one| one.scenario == scenario)
        .collect();
    let covers = |one: &Difference, finding: &Finding| {
        let place = finding
            .step
            .map_or(one.steps.is_empty(), |step| one.steps.contains(&step));
        place && one.what == finding.what && finding.observed.contains(one.instead)
    };
    let unlisted = found
        .iter()
        .filter(|finding| !intended.iter().any(|one| covers(one, finding)));
    let mut wrong = describe(unlisted);
    for one in intended.iter().filter(|one| one.always) {
        let steps: Vec<Option<usize>> = if one.steps.is_empty() {
            vec![None]
        } else {
            one.steps.iter().map(|step| Some(*step)).collect()
        };
        for step in steps {
            if !found
                .iter()
                .any(|finding| finding.step == step && covers(one, finding))
            {
                wrong.push(format!(
                    "{step:?}, {:?}: the listed difference `{}` did not occur",
                    one.what, one.reason
                ));
            }
        }
    }
    wrong
}

/// Findings in words.
pub fn describe<'a>(found: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    let line = |finding: &Finding| {
        let place = finding
            .step
            .map_or_else(|| "whole".to_owned(), |step| format!("step {step}"));
        format!(
            "{place}, {:?}\n    Circus:  {}\n    seen:    {}",
            finding.what, finding.golden, finding.observed
        )
    };
    found.into_iter().map(line).collect()
}
