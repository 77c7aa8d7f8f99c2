//! Lists a session: its index and one look at the folders beside it.

use std::path::Path;

use callbox_core::error::chain;
use callbox_core::{CallState, DumpedCall, Finding, Session, SlotName, SourceError};

use crate::call_facts::{CallFacts, Shared, call_without_record};
use crate::folder::{self, METADATA_FILE, inspect};
use crate::index::{Index, SESSION_FILE};
use crate::lines::LineReader;
use crate::open::{EntryKind, Root};
use crate::order;

/// Lists the calls of a session folder.
///
/// A folder is looked into only where the index lacks it or shows no ending.
pub(crate) fn list_session(root: &Root) -> Result<Session, SourceError> {
    let mut shared = Shared::default();
    let (index, mut findings) = read_index(root, &mut shared);

    let mut kinds = vec![None; index.len()];
    let mut beside = Vec::new();
    for (name, kind) in named_entries(root, &mut findings)? {
        match index.place(&name) {
            Some(place) => kinds[place] = Some(kind),
            None => beside.push((name, kind)),
        }
    }
    let mut indexed = Vec::with_capacity(index.len());
    for ((folder, facts), kind) in index.into_calls().zip(kinds) {
        indexed.push(indexed_call(root, folder, facts, kind, &mut shared, &mut findings));
    }
    // In an order of their own, so that remarks come the same way each time.
    beside.sort();
    let mut others = Vec::new();
    for (folder, kind) in beside {
        if is_call_folder(root, &folder, kind) {
            others.push(other_call(root, folder, kind, &mut shared, &mut findings));
        }
    }
    Ok(Session { calls: order::merge(indexed, others), findings })
}

/// Lists the one call of a call's own folder.
pub(crate) fn list_call(root: &Root, name: &str) -> Session {
    let mut findings = Vec::new();
    let call = inspected_call(root, Path::new(""), name.to_owned(), &mut Shared::default(), &mut findings);
    Session { calls: vec![call], findings }
}

/// Reads the index. Without one, the folders tell everything but the order within a millisecond.
fn read_index(root: &Root, shared: &mut Shared) -> (Index, Vec<Finding>) {
    let without = |reason: &str| {
        let message = format!("{reason}; calls are listed by their folders");
        (Index::default(), vec![Finding { place: SESSION_FILE.to_owned(), message }])
    };
    match root.file(Path::new(SESSION_FILE)) {
        Ok(Some(file)) => Index::read(LineReader::of_file(file), shared),
        Ok(None) => without("there is none"),
        Err(error) => without(&chain(&error)),
    }
}

/// Lists what lies in the session's folder.
fn named_entries(
    root: &Root,
    findings: &mut Vec<Finding>,
) -> Result<impl Iterator<Item = (String, EntryKind)>, SourceError> {
    let entries = root.list(Path::new(""))?.unwrap_or_default();
    let unnamed = entries.iter().filter(|entry| entry.name.is_none()).count();
    if unnamed > 0 {
        let message = format!("{unnamed} names that are not UTF-8; they are left out");
        findings.push(Finding { place: ".".to_owned(), message });
    }
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name?, entry.kind))))
}

/// Tells whether something is a call's folder: by its name, or, renamed, by its records.
pub(crate) fn is_call_folder(root: &Root, name: &str, kind: EntryKind) -> bool {
    SlotName::parse(name).is_some()
        || kind == EntryKind::Folder && root.exists(&Path::new(name).join(METADATA_FILE))
}

fn indexed_call(
    root: &Root,
    folder: String,
    facts: CallFacts,
    kind: Option<EntryKind>,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    let Some(kind) = kind else {
        return facts.into_call(folder, CallState::Damaged { reason: "the folder is missing".to_owned() });
    };
    if let Some(state) = folder::not_a_folder(kind) {
        return facts.into_call(folder, state);
    }
    if let Some(state) = folder::ended(&facts.status) {
        return facts.into_call(folder, state);
    }
    let mut inspection = inspect(root, Path::new(&folder), &folder, shared);
    findings.append(&mut inspection.findings);
    let Some(own) = inspection.facts else {
        let state = match inspection.state {
            CallState::NotStarted => CallState::Damaged {
                reason: format!("{SESSION_FILE} has its record, but its folder is empty"),
            },
            state => state,
        };
        return facts.into_call(folder, state);
    };
    if own.status != facts.status {
        let message = format!("{SESSION_FILE} says {}, this record says {}", facts.status, own.status);
        findings.push(Finding { place: folder::place(Path::new(&folder)), message });
    }
    own.into_call(folder, inspection.state)
}

fn other_call(
    root: &Root,
    folder: String,
    kind: EntryKind,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    match folder::not_a_folder(kind) {
        Some(state) => call_without_record(folder, state),
        None => {
            let relative = Path::new(&folder).to_owned();
            inspected_call(root, &relative, folder, shared, findings)
        }
    }
}

fn inspected_call(
    root: &Root,
    relative: &Path,
    name: String,
    shared: &mut Shared,
    findings: &mut Vec<Finding>,
) -> DumpedCall {
    let mut inspection = inspect(root, relative, &name, shared);
    findings.append(&mut inspection.findings);
    match inspection.facts {
        Some(facts) => facts.into_call(name, inspection.state),
        None => call_without_record(name, inspection.state),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use callbox_core::{DumpSource, Group};
    use proptest::prelude::*;
    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;
    use crate::sample::{self, Sample, line, slot};

    const WHOLE: &[&str] = &["inputs_saved", "completed"];

    #[test]
    fn calls_are_listed_in_order_with_what_became_of_them() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        sample.call(&slot(2), &["inputs_saved"]);
        sample.call(&slot(3), &["inputs_saved", "failed"]);
        sample.call(&slot(4), &["inputs_saved", "outputs_skipped"]);
        sample.check(
            &[
                (&slot(1), "completed"),
                (&slot(2), "inputs_saved"),
                (&slot(3), "failed"),
                (&slot(4), "outputs_skipped"),
            ],
            &[],
        );
        let call = &sample.list().calls[0];
        assert_eq!((call.function.to_string().as_str(), call.call_sequence), ("m.f", 1));
        assert_eq!((call.process.process_id, &*call.timestamp), (7, "20260101_120000_001"));
        assert_eq!((call.inputs.tensors, call.inputs.bytes, call.outputs.tensors), (1, 48, 1));
    }

    #[test]
    fn a_call_that_the_index_lost_is_listed_in_its_place() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        sample.write(&format!("{}/metadata.jsonl", slot(2)), line(&slot(2), "inputs_saved"));
        sample.write(&format!("{}/inputs.first", slot(2)), "inputs");
        let torn = line(&slot(2), "inputs_saved");
        sample.log(&torn[..100]);
        sample.call(&slot(3), WHOLE);
        sample.check(
            &[(&slot(1), "completed"), (&slot(2), "inputs_saved"), (&slot(3), "completed")],
            &["session.jsonl: line 3: 2 records run into each other; 1 recovered, 1 lost"],
        );
    }

    #[test]
    fn without_an_index_the_folders_tell_everything() {
        let mut sample = Sample::new();
        sample.call(&slot(2), WHOLE);
        sample.call(&slot(1), &["inputs_saved"]);
        fs::remove_file(sample.path().join("session.jsonl")).unwrap();
        sample.check(
            &[(&slot(1), "inputs_saved"), (&slot(2), "completed")],
            &["session.jsonl: there is none; calls are listed by their folders"],
        );
    }

    #[test]
    fn a_missing_folder_leaves_its_call_in_the_list() {
        let mut sample = Sample::new();
        sample.log(&line(&slot(1), "completed"));
        sample.check(&[(&slot(1), "damaged: the folder is missing")], &[]);
    }

    #[test]
    fn folders_that_a_failed_recording_left_are_told_apart() {
        let sample = Sample::new();
        sample.write("session.jsonl", "");
        fs::create_dir(sample.path().join(slot(1).to_string())).unwrap();
        sample.write(&format!("{}/.gitkeep", slot(2)), "");
        sample.write(&format!("{}/inputs.first", slot(3)), "");
        sample.write(&format!("{}/inputs.first", slot(4)), "");
        sample.write(&format!("{}/metadata.jsonl", slot(4)), "");
        sample.write(&format!("{}/metadata.jsonl", slot(5)), &line(&slot(5), "inputs_saved")[..80]);
        sample.write(&format!("{}/other.txt", slot(6)), "");
        let torn = format!(
            "{}/metadata.jsonl: line 1: cut off, column 81: `timestamp`: the text ends inside a string; \
             this line is lost",
            slot(5)
        );
        sample.check(
            &[
                (&slot(1), "not_started"),
                (&slot(2), "not_started"),
                (&slot(3), "damaged: inputs.first is there, metadata.jsonl is missing"),
                (
                    &slot(4),
                    "damaged: inputs.first is there, metadata.jsonl holds no whole record: the file has no lines",
                ),
                (
                    &slot(5),
                    "damaged: metadata.jsonl holds no whole record: \
                     line 1: cut off, column 81: `timestamp`: the text ends inside a string",
                ),
                (&slot(6), "damaged: other.txt is there, metadata.jsonl is missing"),
            ],
            &[&torn],
        );
    }

    #[test]
    fn u03_a_torn_second_line_leaves_the_first_one_readable() {
        let mut sample = Sample::new();
        sample.call(&slot(1), &["inputs_saved"]);
        let second = line(&slot(1), "completed");
        sample.write(
            &format!("{}/metadata.jsonl", slot(1)),
            line(&slot(1), "inputs_saved") + &second[..second.len() / 2],
        );
        let session = sample.list();
        assert_eq!(sample::state(&session.calls[0].state), "inputs_saved");
        assert!(session.findings[0].message.starts_with("line 2: cut off, "), "{:?}", session.findings);
    }

    #[test]
    fn u04_outputs_without_a_line_are_unconfirmed() {
        let mut sample = Sample::new();
        sample.call(&slot(1), &["inputs_saved"]);
        sample.write(&format!("{}/outputs.first", slot(1)), "cut");
        sample.check(&[(&slot(1), "outputs_unconfirmed")], &[]);
    }

    #[test]
    fn inputs_that_are_recorded_but_gone_are_damage() {
        let mut sample = Sample::new();
        sample.call(&slot(1), &["inputs_saved"]);
        fs::remove_file(sample.path().join(slot(1).to_string()).join("inputs.first")).unwrap();
        sample.check(&[(&slot(1), "damaged: input tensors are recorded, their file is missing")], &[]);
    }

    #[test]
    fn captured_calls_are_no_crashes() {
        let mut sample = Sample::new();
        let captured = |status: &str| line(&slot(1), status).replace("capture\": false", "capture\": true");
        for (statuses, state) in [
            (&["graph_capture_pending_flush"; 2][..], "graph_capture_pending_flush"),
            (&["graph_capture_pending_flush", "inputs_saved", "inputs_saved"], "graph_captured"),
            (&["graph_capture_pending_flush", "inputs_saved", "completed"], "completed"),
        ] {
            let lines: String = statuses.iter().map(|status| captured(status)).collect();
            sample.write("session.jsonl", &lines);
            sample.write(&format!("{}/metadata.jsonl", slot(1)), &lines);
            sample.write(&format!("{}/inputs.first", slot(1)), "");
            sample.check(&[(&slot(1), state)], &[]);
        }
        sample.log(&captured("inputs_saved"));
        sample.write(&format!("{}/metadata.jsonl", slot(1)), captured("inputs_saved"));
        sample.write(&format!("{}/outputs.first", slot(1)), "of the flush before");
        sample.check(&[(&slot(1), "outputs_unconfirmed")], &[]);
    }

    #[test]
    fn an_unknown_status_is_damage_that_names_it() {
        let mut sample = Sample::new();
        sample.call(&slot(1), &["inputs_saved", "melted"]);
        let state = "damaged: the execution_status \"melted\" is unknown to this version";
        sample.check(&[(&slot(1), state)], &[]);
    }

    #[test]
    fn u08_an_index_that_disagrees_with_a_call_s_own_record_is_reported() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        sample.write("session.jsonl", line(&slot(1), "inputs_saved"));
        let finding = format!(
            "{}/metadata.jsonl: session.jsonl says inputs_saved, this record says completed",
            slot(1)
        );
        sample.check(&[(&slot(1), "completed")], &[&finding]);

        sample.write("session.jsonl", line(&slot(2), "inputs_saved"));
        fs::create_dir(sample.path().join(slot(2).to_string())).unwrap();
        sample.check(
            &[
                (&slot(1), "completed"),
                (&slot(2), "damaged: session.jsonl has its record, but its folder is empty"),
            ],
            &[],
        );
    }

    #[test]
    fn u27_two_processes_and_calls_of_one_millisecond_keep_the_index_s_order() {
        let mut sample = Sample::new();
        let of =
            |process_id, function: &str| SlotName { process_id, function: function.to_owned(), ..slot(1) };
        let calls = [of(9, "z"), of(8, "b"), of(9, "a"), of(8, "a")];
        calls.iter().for_each(|call| sample.call(call, WHOLE));
        sample.check(&calls.each_ref().map(|call| (call, "completed")), &[]);
    }

    #[test]
    fn u59_links_and_other_things_in_place_of_a_call_s_folder_are_refused() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        sample.log(&line(&slot(2), "completed"));
        symlink(slot(1).to_string(), sample.path().join(slot(2).to_string())).unwrap();
        symlink("/etc", sample.path().join(slot(3).to_string())).unwrap();
        sample.write(&slot(4).to_string(), "a file");
        mkfifoat(CWD, sample.path().join(slot(5).to_string()), Mode::RUSR).unwrap();
        symlink("/etc", sample.path().join("etc")).unwrap();
        let link = "damaged: it is a symbolic link, and those are not followed";
        let other = "damaged: it is not a folder";
        sample.check(
            &[
                (&slot(1), "completed"),
                (&slot(2), link),
                (&slot(3), link),
                (&slot(4), other),
                (&slot(5), other),
            ],
            &[],
        );
    }

    #[test]
    fn u63_links_and_fifos_in_place_of_a_call_s_record_are_refused_without_waiting() {
        let mut sample = Sample::new();
        sample.log(&(line(&slot(1), "inputs_saved") + &line(&slot(2), "inputs_saved")));
        for call in [slot(1), slot(2)] {
            fs::create_dir(sample.path().join(call.to_string())).unwrap();
        }
        let metadata = |call: &SlotName| sample.path().join(call.to_string()).join("metadata.jsonl");
        symlink("/etc/passwd", metadata(&slot(1))).unwrap();
        mkfifoat(CWD, metadata(&slot(2)), Mode::RUSR).unwrap();
        let states: Vec<_> = sample.list().calls.iter().map(|call| sample::state(&call.state)).collect();
        assert!(states[0].ends_with("symbolic links are not followed"), "{states:?}");
        assert!(states[1].ends_with("it is a FIFO, not a regular file"), "{states:?}");
    }

    #[test]
    fn an_index_that_cannot_be_read_is_done_without() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        let index = sample.path().join("session.jsonl");
        let check = |reason: &str| {
            let session = sample.list();
            assert_eq!((session.calls.len(), session.findings.len()), (1, 1));
            let message = &session.findings[0].message;
            assert!(message.contains(reason) && message.ends_with("listed by their folders"), "{message}");
        };
        fs::remove_file(&index).unwrap();
        symlink("elsewhere.jsonl", &index).unwrap();
        check("symbolic links are not followed");
        fs::remove_file(&index).unwrap();
        fs::create_dir(&index).unwrap();
        check("a folder, not a regular file");
        fs::remove_dir(&index).unwrap();
        mkfifoat(CWD, &index, Mode::RUSR).unwrap();
        check("a FIFO, not a regular file");
    }

    #[test]
    fn a_renamed_folder_is_known_by_its_records() {
        let mut sample = Sample::new();
        sample.call(&slot(1), WHOLE);
        fs::rename(sample.path().join(slot(1).to_string()), sample.path().join("golden")).unwrap();
        fs::create_dir(sample.path().join("unrelated")).unwrap();
        let session = sample.list();
        let listed: Vec<_> =
            session.calls.iter().map(|c| (c.folder.as_str(), sample::state(&c.state))).collect();
        let (lost, renamed) = (slot(1).to_string(), "golden");
        assert_eq!(
            listed,
            [(lost.as_str(), "damaged: the folder is missing".to_owned()), (renamed, "completed".to_owned()),]
        );
        assert_eq!(session.calls[1].function.name(), "f");
    }

    /// One way to damage a file or folder.
    #[derive(Clone, Debug)]
    enum Damage {
        Cut(f64),
        Zero(f64),
        Flip(f64, u8),
        Remove,
    }

    fn damage() -> impl Strategy<Value = Damage> {
        prop_oneof![
            (0.0..1.0f64).prop_map(Damage::Cut),
            (0.0..1.0f64).prop_map(Damage::Zero),
            (0.0..1.0f64, any::<u8>()).prop_map(|(at, mask)| Damage::Flip(at, mask)),
            Just(Damage::Remove),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_is_damaged_every_folder_is_listed_once(
            damages in prop::collection::vec((0usize..16, damage()), 1..6),
        ) {
            let mut sample = Sample::new();
            (1..=4).for_each(|number| sample.call(&slot(number), &WHOLE[..1 + number as usize % 2]));
            let mut files = vec![sample.path().join("session.jsonl")];
            for number in 1..=4 {
                let folder = sample.path().join(slot(number).to_string());
                files.extend(["metadata.jsonl", "inputs.first", "outputs.first"].map(|name| folder.join(name)));
            }
            for (file, damage) in damages {
                let file = &files[file % files.len()];
                let Ok(mut bytes) = fs::read(file) else { continue };
                let place = |at: f64| (bytes.len() as f64 * at) as usize;
                match damage {
                    Damage::Cut(at) => bytes.truncate(place(at)),
                    Damage::Zero(at) => { let place = place(at); bytes[place..].fill(0); }
                    Damage::Flip(at, mask) => { let place = place(at); bytes.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= mask); }
                    Damage::Remove => { fs::remove_file(file).unwrap(); continue }
                }
                fs::write(file, bytes).unwrap();
            }
            let source = sample.open().unwrap();
            let session = source.calls().unwrap();
            for number in 1..=4 {
                let folder = slot(number).to_string();
                prop_assert_eq!(session.calls.iter().filter(|call| call.folder == folder).count(), 1);
            }
            for call in &session.calls {
                let record = source.record(call);
                prop_assert!(record.is_ok() || !matches!(call.state, CallState::InputsSaved));
                for group in Group::ALL {
                    drop(source.load(call, group));
                }
            }
        }
    }
}
