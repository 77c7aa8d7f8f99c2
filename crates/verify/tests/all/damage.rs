//! Cuts at every byte, flips of every bit, blocks of zeros, files of another call: nothing is taken for what it is not,
//! and every file that was touched is named.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::{CallRecord, DumpSource, DumpedCall, Group, TensorSerializer};
use callbox_sink_fs::{FsSource, Hashing};
use callbox_verify::Report;

use crate::recorded::{Contents, Recorded, formats, load_all};

const BLOCK: usize = 512;
/// A whole look at the session takes longer than one at the call: of the flips every so many get it.
const LOOKED_AT: usize = 251;

/// What was recorded, to compare with.
struct Truth {
    calls: Vec<(DumpedCall, [Option<Contents>; 3])>,
    /// Every record of the session, the unfinished ones too.
    records: Vec<CallRecord>,
}

impl Truth {
    fn of(recorded: &Recorded) -> Truth {
        let source = recorded.source();
        let calls = source.calls().unwrap().calls;
        let mut records = Vec::new();
        for call in &calls {
            records.push(source.record(call).unwrap().record);
            // The record before it: the file without its last line.
            let path = recorded.root().join(&call.folder).join("metadata.jsonl");
            let whole = fs::read_to_string(&path).unwrap();
            let first = whole.split_inclusive('\n').next().unwrap();
            fs::write(&path, first).unwrap();
            records.push(source.record(call).unwrap().record);
            fs::write(&path, whole).unwrap();
        }
        let load = |call: DumpedCall| {
            let loaded = load_all(&source, &call).map(Result::unwrap);
            (call, loaded)
        };
        Truth { calls: calls.into_iter().map(load).collect(), records }
    }

    /// Loads what the calls have now: every answer is an error or what was written.
    fn check(&self, source: &FsSource, what: &str) {
        (0..self.calls.len()).for_each(|place| self.check_call(place, source, what));
    }

    fn check_call(&self, place: usize, source: &FsSource, what: &str) {
        let (call, truth) = &self.calls[place];
        for (loaded, truth) in load_all(source, call).into_iter().zip(truth) {
            if let Ok(Some(loaded)) = loaded {
                assert_eq!(Some(&loaded), truth.as_ref(), "{what}: other tensors are taken");
            }
        }
        if let Ok(loaded) = source.record(call) {
            assert!(self.records.contains(&loaded.record), "{what}: another record is taken");
        }
    }
}

fn names(report: &Report, file: &Path) -> bool {
    let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap());
    let damage = report.damages.iter().any(|damage| {
        *damage.file == *name && (damage.folder.is_empty() || folder.ends_with(&damage.folder))
    });
    damage || report.notes.iter().any(|note| file.ends_with(&note.place))
}

/// Every file of the first call, and the session's index.
fn files(recorded: &Recorded) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(recorded.call_folder(1)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(recorded.root().join("session.jsonl"));
    assert_eq!(files.len(), 5, "{files:?}");
    files
}

/// Returns the group of a file of tensors.
fn group_of(file: &Path) -> Option<Group> {
    let stem = file.file_stem().unwrap();
    Group::ALL.into_iter().find(|group| *group.stem() == *stem)
}

/// Does something to every file of a session, one after the other, and gives it back its content.
fn for_each_file(hashing: Hashing, act: impl Fn(&Recorded, &Truth, &Path, &[u8])) {
    for format in formats() {
        let recorded = Recorded::two_calls(&format, hashing);
        let truth = Truth::of(&recorded);
        for file in files(&recorded) {
            let content = fs::read(&file).unwrap();
            act(&recorded, &truth, &file, &content);
            fs::write(&file, &content).unwrap();
        }
        assert_eq!(recorded.verify().damages, []);
    }
}

#[test]
fn a_session_that_nobody_touched_is_whole_and_everything_of_it_is_compared() {
    for (hashing, hashed) in [(Hashing::Xxh3, true), (Hashing::Blake3, true), (Hashing::Off, false)] {
        for format in formats() {
            let report = Recorded::two_calls(&format, hashing).verify();
            assert_eq!((report.damages, report.notes), (Vec::new(), Vec::new()));
            let totals = report.totals;
            assert_eq!((totals.files, totals.tensors, totals.records), (6, 6, 8));
            let agree = if hashed { (6, 0, 8) } else { (0, 6, 0) };
            assert_eq!((totals.files_agree, totals.files_without_hash, totals.records_agree), agree);
        }
    }
}

#[test]
fn u57_no_part_of_a_file_passes_for_the_whole_and_each_is_named() {
    for_each_file(Hashing::Xxh3, |recorded, truth, file, content| {
        let source = recorded.source();
        let open = OpenOptions::new().write(true).open(file).unwrap();
        for len in (0..content.len()).rev() {
            open.set_len(len as u64).unwrap();
            let what = format!("the first {len} bytes of {}", file.display());
            match group_of(file) {
                Some(group) => assert!(source.load(&truth.calls[0].0, group).is_err(), "{what}"),
                None => truth.check_call(0, &recorded.source(), &what),
            }
            let report = recorded.verify();
            assert!(names(&report, file), "{what}: {report:?}");
        }
    });
}

#[test]
fn u57_without_a_hash_the_format_finds_a_part_of_a_file() {
    for_each_file(Hashing::Off, |recorded, truth, file, content| {
        let Some(group) = group_of(file) else { return };
        let source = recorded.source();
        let open = OpenOptions::new().write(true).open(file).unwrap();
        for len in (0..content.len()).rev() {
            open.set_len(len as u64).unwrap();
            assert!(source.load(&truth.calls[0].0, group).is_err(), "{len} bytes of {}", file.display());
        }
        assert!(names(&recorded.verify(), file));
    });
}

#[test]
fn u56_a_flipped_bit_is_found_in_every_file() {
    for_each_file(Hashing::Xxh3, |recorded, truth, file, content| {
        let open = OpenOptions::new().write(true).open(file).unwrap();
        let source = recorded.source();
        for bit in 0..content.len() * 8 {
            let (byte, offset) = (content[bit / 8], (bit / 8) as u64);
            open.write_all_at(&[byte ^ 1 << (bit % 8)], offset).unwrap();
            let what = format!("bit {bit} of {}", file.display());
            match group_of(file) {
                Some(group) => assert!(source.load(&truth.calls[0].0, group).is_err(), "{what} is not found"),
                None if file.ends_with("session.jsonl") => {}
                None => truth.check_call(0, &source, &what),
            }
            if bit % LOOKED_AT == 0 {
                truth.check(&recorded.source(), &what);
                // A flip in the name of the hash's key leaves a whole line without a hash, and all that it says.
                let report = recorded.verify();
                let is_found = names(&report, file) || report.totals.records_agree < report.totals.records;
                assert!(is_found, "{what} is not named: {report:?}");
            }
            open.write_all_at(&[byte], offset).unwrap();
        }
    });
}

#[test]
fn a_listing_never_tells_another_call_than_was_recorded() {
    let recorded = Recorded::two_calls(&formats()[0], Hashing::Xxh3);
    let listed = |recorded: &Recorded| recorded.source().calls().unwrap().calls;
    let truth: Vec<_> = listed(&recorded).iter().map(described).collect();
    let file = recorded.root().join("session.jsonl");
    let content = fs::read(&file).unwrap();
    let open = OpenOptions::new().write(true).open(&file).unwrap();
    for bit in (0..content.len() * 8).step_by(7) {
        let (byte, offset) = (content[bit / 8], (bit / 8) as u64);
        open.write_all_at(&[byte ^ 1 << (bit % 8)], offset).unwrap();
        for call in listed(&recorded) {
            assert!(truth.contains(&described(&call)), "bit {bit}: {call:?}");
        }
        open.write_all_at(&[byte], offset).unwrap();
    }
}

/// What a list shows of a call.
fn described(call: &DumpedCall) -> String {
    format!("{} {} {} {:?}", call.folder, call.function, call.call_sequence, call.tensor_details)
}

#[test]
fn a_block_of_zeros_is_found_in_every_file() {
    for_each_file(Hashing::Xxh3, |recorded, truth, file, content| {
        for start in (0..content.len()).step_by(BLOCK) {
            let mut damaged = content.to_vec();
            let end = content.len().min(start + BLOCK);
            damaged[start..end].fill(0);
            fs::write(file, damaged).unwrap();
            let what = format!("zeros from {start} on in {}", file.display());
            truth.check(&recorded.source(), &what);
            assert!(names(&recorded.verify(), file), "{what}");
        }
    });
}

/// Swaps a file of the two calls.
fn swapped(recorded: &Recorded, name: &str) -> [PathBuf; 2] {
    let files = [1, 2].map(|number| recorded.call_folder(number).join(name));
    let [first, second] = [0, 1].map(|place: usize| fs::read(&files[place]).unwrap());
    assert_eq!(first.len(), second.len());
    fs::write(&files[0], second).unwrap();
    fs::write(&files[1], first).unwrap();
    files
}

fn extension(format: &Arc<dyn TensorSerializer>) -> &'static str {
    format.format().extension
}

#[test]
fn files_of_another_call_are_found_by_their_hash() {
    for format in formats() {
        for stem in ["inputs", "outputs", "args_after"] {
            let recorded = Recorded::two_calls(&format, Hashing::Xxh3);
            let truth = Truth::of(&recorded);
            let files = swapped(&recorded, &format!("{stem}.{}", extension(&format)));
            truth.check(&recorded.source(), stem);
            let report = recorded.verify();
            assert_eq!(report.damages.len(), 2, "{report:?}");
            for (file, damage) in files.iter().zip(&report.damages) {
                assert!(names(&report, file), "{report:?}");
                assert!(damage.reason.starts_with("its hash is xxh3:"), "{}", damage.reason);
            }
        }
    }
}

/// What the hash is there for: without it, nothing tells.
#[test]
fn without_hashes_files_of_another_call_are_not_found_and_that_is_told() {
    for format in formats() {
        let recorded = Recorded::two_calls(&format, Hashing::Off);
        swapped(&recorded, &format!("inputs.{}", extension(&format)));
        let report = recorded.verify();
        assert_eq!((report.damages.len(), report.totals.files_without_hash), (0, 6));
    }
}

#[test]
fn a_record_of_another_call_fits_neither_the_files_nor_the_index() {
    let recorded = Recorded::two_calls(&formats()[0], Hashing::Xxh3);
    swapped(&recorded, "metadata.jsonl");
    let report = recorded.verify();
    assert_eq!(report.damages.len(), 6, "{report:?}");
    assert!(report.notes.iter().any(|note| note.message.contains("the session lists call number 1")));
}

#[test]
fn an_index_that_is_gone_or_empty_is_named() {
    let recorded = Recorded::two_calls(&formats()[0], Hashing::Xxh3);
    let index = recorded.root().join("session.jsonl");
    let reasons = || -> Vec<_> {
        recorded.verify().damages.into_iter().map(|damage| (damage.file, damage.reason)).collect()
    };
    let named = |what: &str| {
        vec![("session.jsonl".to_owned(), format!("{what}, and the calls' own files have 4 records"))]
    };
    fs::write(&index, "").unwrap();
    assert_eq!(reasons(), named("it is empty"));
    fs::remove_file(&index).unwrap();
    assert_eq!(reasons(), named("it is missing"));
    // As a recorder leaves it that ends between a call's own line and the session's.
    fs::remove_dir_all(recorded.call_folder(2)).unwrap();
    fs::write(&index, "").unwrap();
    assert_eq!(reasons(), []);
}

#[test]
fn a_missing_file_and_a_lost_ending_are_named() {
    let recorded = Recorded::two_calls(&formats()[1], Hashing::Xxh3);
    let metadata = recorded.call_folder(1).join("metadata.jsonl");
    let whole = fs::read_to_string(&metadata).unwrap();
    fs::write(&metadata, whole.split_inclusive('\n').next().unwrap()).unwrap();
    fs::remove_file(recorded.call_folder(2).join("outputs.safetensors")).unwrap();
    let report = recorded.verify();
    let reasons: Vec<_> = report.damages.iter().map(|damage| (&*damage.file, &*damage.reason)).collect();
    let lost = "its last record says inputs_saved, session.jsonl says completed, which is written later: a record \
                is lost";
    let missing = "its tensors are recorded, the file is missing";
    assert_eq!(reasons, [("metadata.jsonl", lost), ("outputs.safetensors", missing)]);
}

#[test]
fn what_a_process_leaves_that_died_is_no_damage() {
    let recorded = Recorded::two_calls(&formats()[0], Hashing::Xxh3);
    fs::write(recorded.call_folder(1).join(".outputs.pt.tmp"), "half").unwrap();
    fs::create_dir(recorded.root().join("20260101_120000_001_pid7_f_call0003")).unwrap();
    let report = recorded.verify();
    assert_eq!((report.damages, report.notes.len()), (Vec::new(), 2));
}
