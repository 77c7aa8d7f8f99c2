//! Listing a long session.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use callbox_core::{CallState, DumpSource};
use callbox_sink_fs::{FsSource, ReadOptions};

use crate::harness::{Measurement, Target, Variant, race};
use crate::plain;

const CALLS: usize = 100_000;
const ROUNDS: usize = 5;
const TARGET: Target = Target::GigabytesPerSecond(1.0);
/// Nine calls that FlashInfer recorded: two lines each, numbered below ten.
const RECORDED: &str = include_str!("../../examples/sessions/batch_decode/session.jsonl");

/// Measures listing a session whose lines are the recorded ones, numbered on.
pub(crate) fn measure() -> anyhow::Result<Vec<Measurement>> {
    let folder = tempfile::tempdir()?;
    let index = folder.path().join("session.jsonl");
    write_session(folder.path(), &index)?;
    let bytes = index.metadata()?.len();
    let source = FsSource::open(folder.path(), Vec::new(), ReadOptions::default())?;
    let mut buffer = Vec::new();
    race(
        ROUNDS,
        Some(bytes),
        vec![
            Variant::new("plain read of a session.jsonl", || Ok(plain::read(&index, &mut buffer)?)),
            Variant::new("a session of 100,000 calls, listed", || {
                let session = source.calls()?;
                let completed = session.calls.iter().filter(|call| call.state == CallState::Completed);
                anyhow::ensure!(
                    completed.count() == CALLS && session.findings.is_empty(),
                    "the session was misread: {:?}",
                    session.findings.first()
                );
                Ok(())
            })
            .with_target(TARGET),
        ],
    )
}

fn write_session(folder: &Path, index: &Path) -> anyhow::Result<()> {
    let lines: Vec<&str> = RECORDED.lines().collect();
    let (calls, _) = lines.as_chunks::<2>();
    let mut index = BufWriter::new(File::create(index)?);
    for call in 0..CALLS {
        let [begun, ended] = calls[call % calls.len()];
        let number = call / calls.len() * 10;
        for line in [begun, ended] {
            writeln!(index, "{}", renumbered(line, number))?;
        }
        let path = renumbered(begun, number);
        let (_, name) = path.rsplit_once('/').expect("a recorded line ends with its folder");
        fs::create_dir(folder.join(name.trim_end_matches(['"', '}'])))?;
    }
    Ok(index.flush()?)
}

/// Adds a number to the call's own, in the folder's name and in the record.
fn renumbered(line: &str, number: usize) -> String {
    let (before, behind) = line.rsplit_once("_call").expect("a recorded line ends with its folder");
    let own: usize = behind[..4].parse().expect("a folder's name ends with four digits");
    let name = format!("{before}_call{:04}{}", own + number, &behind[4..]);
    name.replacen(&format!("\"call_sequence\": {own},"), &format!("\"call_sequence\": {},", own + number), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renumbered_line_differs_in_its_numbers_alone() {
        let line = r#"{"call_sequence": 2, "dump_dir": "dumps/20260101_pid1_f_call0002"}"#;
        let expected = r#"{"call_sequence": 100002, "dump_dir": "dumps/20260101_pid1_f_call100002"}"#;
        assert_eq!(renumbered(line, 100_000), expected);
        assert_eq!(RECORDED.lines().count() % 2, 0);
    }
}
