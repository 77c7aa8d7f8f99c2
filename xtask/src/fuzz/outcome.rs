//! What a target's run came to, from what libFuzzer prints.

use std::path::PathBuf;

/// Figures of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) executions: u64,
    /// Time that it ran, measured outside: libFuzzer does not tell it of a run that ended early.
    pub(super) seconds: u64,
    /// Edges between blocks of code that were taken.
    edges: u64,
    /// Edges with how often they were taken, and values that were compared.
    features: u64,
    /// Inputs that are worth keeping.
    corpus: u64,
    new: u64,
    peak_mib: u64,
    /// Inputs that the target fell over.
    pub(super) kept: Vec<PathBuf>,
}

impl Outcome {
    pub(super) const HEAD: &str =
        "target         executions     a second    edges  features   inputs      new   MiB  crashes";

    /// Reads what libFuzzer printed up to its end.
    pub(super) fn read(output: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for line in output.lines() {
            if let Some((name, value)) = line.strip_prefix("stat::").and_then(|line| line.split_once(':')) {
                let value = value.trim().parse().unwrap_or_default();
                match name {
                    "number_of_executed_units" => outcome.executions = value,
                    "new_units_added" => outcome.new = value,
                    "peak_rss_mb" => outcome.peak_mib = value,
                    _ => {}
                }
            } else if line.starts_with('#') && line.contains(" cov: ") {
                outcome.edges = number_behind(line, "cov:").unwrap_or(outcome.edges);
                outcome.features = number_behind(line, "ft:").unwrap_or(outcome.features);
                outcome.corpus = number_behind(line, "corp:").unwrap_or(outcome.corpus);
            }
        }
        outcome
    }

    /// Writes a row of the table.
    pub(super) fn row(&self, target: &str) -> String {
        let Outcome { executions, seconds, edges, features, corpus, new, peak_mib, kept } = self;
        let rate = executions / (*seconds).max(1);
        let crashes = kept.len();
        format!(
            "{target:<12} {executions:>12} {rate:>12} {edges:>8} {features:>9} {corpus:>8} {new:>8} {peak_mib:>5} {crashes:>8}"
        )
    }
}

/// Returns the number in the word behind a word; `12/34Kb` is 12.
fn number_behind(line: &str, word: &str) -> Option<u64> {
    let behind = line.split_whitespace().skip_while(|other| *other != word).nth(1)?;
    let len = behind.find(|character: char| !character.is_ascii_digit()).unwrap_or(behind.len());
    behind[..len].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_of_a_run_count() {
        let outcome = Outcome::read(
            "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
             #900\tNEW    cov: 123 ft: 456 corp: 78/12Kb lim: 4 exec/s: 450 rss: 60Mb L: 4/4 MS: 1 X-\n\
             Done 1000 runs in 2 second(s)\nstat::number_of_executed_units: 1000\n\
             stat::average_exec_per_sec:     500\nstat::new_units_added:          77\nstat::peak_rss_mb:  61\n",
        );
        let expected = Outcome {
            executions: 1000,
            seconds: 0,
            edges: 123,
            features: 456,
            corpus: 78,
            new: 77,
            peak_mib: 61,
            kept: Vec::new(),
        };
        assert_eq!(outcome, expected);
        assert_eq!(outcome.row("pt_file").len(), Outcome::HEAD.len());
        assert_eq!(Outcome::read("ERROR: cannot start"), Outcome::default());
    }
}
