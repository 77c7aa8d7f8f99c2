//! Every target on its seeds, on hostile files and on the inputs that fuzzing found, without a fuzzing engine.

mod hostile;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use callbox_fuzz::{Seeds, TARGETS, Target, bounded, find};

/// Returns the inputs that were kept for a target, with their names.
fn kept(target: &Target) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["regressions", "corpus"].map(|folder| root.join(folder).join(target.name));
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let mut inputs: Vec<_> = entries
        .map(|entry| {
            let path = entry.expect("the folder can be read").path();
            let input = fs::read(&path).expect("the file can be read");
            (path.strip_prefix(root).unwrap_or(&path).display().to_string(), input)
        })
        .collect();
    inputs.sort();
    inputs
}

fn seeds(target: &Target) -> Vec<(String, Vec<u8>)> {
    let mut seeds = Seeds::new(target.max_len);
    (target.seeds)(&mut seeds);
    (0..)
        .zip(seeds.into_inputs())
        .map(|(number, input): (u32, _)| (format!("seed {number}"), input))
        .collect()
}

#[track_caller]
fn check(name: &str) {
    let target = find(name).expect("the table has the target");
    let inputs = [seeds(target), hostile::files(target), kept(target)].concat();
    assert!(!inputs.is_empty(), "{name} has nothing to start from");
    let failed: Vec<_> = inputs
        .iter()
        .filter(|(_, input)| panic::catch_unwind(AssertUnwindSafe(|| bounded(target.run, input))).is_err())
        .map(|(name, _)| name)
        .collect();
    assert!(failed.is_empty(), "{name}: {failed:?} of {} inputs", inputs.len());
}

/// One test a target, and a table of them: a target without a test is found by the last one.
macro_rules! replayed {
    ($($test:ident: $target:literal,)*) => {
        $(#[test]
        fn $test() {
            check($target);
        })*

        #[test]
        fn every_target_is_replayed() {
            let tested = [$($target),*];
            assert_eq!(TARGETS.map(|target| target.name), tested);
        }
    };
}

replayed! {
    kept_torch_files_are_read_or_refused: "pt_file",
    kept_forged_archives_are_read_or_refused: "pt_forged",
    kept_pickles_are_read_or_refused: "pickle_ops",
    kept_safetensors_files_are_read_or_refused: "safetensors",
    kept_lines_are_read_or_refused: "json_line",
    kept_metadata_gives_arguments_or_a_verdict: "metadata",
    kept_patterns_take_what_the_plain_matcher_takes: "patterns",
    kept_names_are_those_of_call_folders_or_not: "folder_name",
    kept_sessions_are_listed_and_replayed: "dump_folder",
}
