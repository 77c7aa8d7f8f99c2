//! The limits hold to the byte, whatever is recorded and from however many threads.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use callbox_core::{
    Adapters, CallState, Callsite, DumpSink, DumpSource, Ending, Level, Limits, LiveArguments, Recorder,
    Settings, TensorSerializer, Value,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use callbox_testkit::fixed::{FixedClock, FixedHost};
use callbox_values::tensor_of;

static CALLSITE: Callsite = Callsite::new("limits", "grow", "(x)");

fn recorder(root: &Path, format: Arc<dyn TensorSerializer>, limits: Limits) -> Recorder {
    let options = SinkOptions {
        root: root.to_owned(),
        format,
        fallback: None,
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    };
    let dumps: Arc<dyn DumpSink> = Arc::new(FsSink::new(options));
    Recorder::new(
        Settings { level: Level::Dumps, limits, ..Settings::default() },
        Adapters {
            log: None,
            dumps: Some(dumps),
            usage: None,
            clock: Arc::new(FixedClock::default()),
            host: Arc::new(FixedHost::default()),
        },
    )
}

/// Records a call that takes a tensor of `input` bytes and returns one of `output` bytes.
fn call(recorder: &Recorder, input: usize, output: usize) {
    let (input, output) = (vec![1u8; input], vec![2u8; output]);
    let tensor = |bytes| Value::Tensor(tensor_of::<u8>(bytes, &[bytes.len()]).unwrap());
    let pending = recorder.begin(&CALLSITE, || LiveArguments {
        positional: vec![tensor(&input[..])],
        ..LiveArguments::default()
    });
    pending.complete(|| tensor(&output[..]).into());
}

/// Bytes of all files under a folder.
fn bytes_under(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .map(|entry| entry.unwrap())
        .map(|entry| match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => bytes_under(&entry.path()),
            metadata => metadata.len(),
        })
        .sum()
}

fn formats() -> [Arc<dyn TensorSerializer>; 2] {
    [Arc::new(PtSerializer), Arc::new(SafetensorsSerializer)]
}

#[test]
fn u12_u14_no_file_goes_past_the_size_limit_from_eight_threads() {
    for format in formats() {
        for max_bytes in [0, 1, 5_000, 20_011, 100_003] {
            let folder = tempfile::tempdir().unwrap();
            let root = folder.path().join("dumps");
            let recorder = recorder(&root, format.clone(), Limits { max_bytes, ..Limits::default() });
            thread::scope(|scope| {
                for thread in 0..8 {
                    let recorder = &recorder;
                    scope
                        .spawn(move || (0..12).for_each(|number| call(recorder, 100 * thread, 700 * number)));
                }
            });
            let (bytes, health) = (bytes_under(&root), recorder.health());
            assert!(bytes <= max_bytes, "{bytes} bytes of {max_bytes}");
            assert_eq!((health.reached, health.running(), health.faults.len()), (96, 0, 0), "{health:?}");
            assert!(max_bytes < 100_000 || bytes > max_bytes / 2, "{bytes} bytes of {max_bytes} are used");
        }
    }
}

/// Records one call under a size limit; tells how it ended.
fn ending_under(format: &Arc<dyn TensorSerializer>, max_bytes: u64, output: usize) -> Ending {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("dumps");
    let recorder = recorder(&root, format.clone(), Limits { max_bytes, ..Limits::default() });
    call(&recorder, 64, output);
    let health = recorder.health();
    let (ending, count) = health.endings.first_key_value().unwrap();
    assert_eq!((health.endings.len(), *count), (1, 1), "{health:?}");
    assert!(bytes_under(&root) <= max_bytes);
    *ending
}

#[test]
fn one_byte_decides_whether_outputs_fit_and_whether_the_call_is_begun() {
    const OUTPUT: usize = 20_000;
    for format in formats() {
        let folder = tempfile::tempdir().unwrap();
        // As deep as the others: the folder's name is in each line.
        call(&recorder(&folder.path().join("dumps"), format.clone(), Limits::default()), 64, OUTPUT);
        let needed = bytes_under(folder.path());
        // Each of the four lines may have to close a torn one before it.
        let enough =
            (needed..=needed + 4).find(|max| ending_under(&format, *max, OUTPUT) == Ending::Recorded);
        let enough = enough.expect("what a call takes is enough for it");
        assert_eq!(ending_under(&format, enough - 1, OUTPUT), Ending::OutputsSkipped);

        let begins = |max_bytes: &u64| ending_under(&format, *max_bytes, OUTPUT) == Ending::OutputsSkipped;
        let (mut least, mut most) = (0, enough - 1);
        while most - least > 1 {
            let middle = least.midpoint(most);
            if begins(&middle) { most = middle } else { least = middle }
        }
        assert_eq!(ending_under(&format, most - 1, OUTPUT), Ending::OverSize);
    }
}

#[test]
fn u15_the_limit_of_calls_is_exact_from_eight_threads() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { max_count: 4, ..Limits::default() };
    let recorder = recorder(&folder.path().join("dumps"), Arc::new(PtSerializer), limits);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| call(&recorder, 8, 8)));
        }
    });
    let health = recorder.health();
    assert_eq!((health.count(Ending::Recorded), health.count(Ending::OverCount)), (4, 196));
    let session = callbox::open_session(&folder.path().join("dumps")).unwrap().calls().unwrap();
    assert_eq!(session.calls.len(), 4);
}

#[test]
fn u15_the_limit_of_calls_is_exact_from_sixteen_threads() {
    const THREADS: usize = 16;
    let calls = if callbox_tests::soaks() { 10_000 } else { 200 };
    let folder = tempfile::tempdir().unwrap();
    // Half of all calls fit.
    let limits = Limits { max_count: (THREADS * calls / 2) as u64, ..Limits::default() };
    let recorder = recorder(&folder.path().join("dumps"), Arc::new(PtSerializer), limits);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..calls).for_each(|_| call(&recorder, 8, 8)));
        }
    });
    let health = recorder.health();
    let half = limits.max_count;
    assert_eq!((health.count(Ending::Recorded), health.count(Ending::OverCount)), (half, half), "{health:?}");
    let session = callbox::open_session(&folder.path().join("dumps")).unwrap().calls().unwrap();
    assert_eq!((session.calls.len() as u64, session.findings.len()), (half, 0));
    println!("figures: {THREADS} threads x {calls} calls, {half} allowed, {half} recorded");
}

#[test]
fn a_call_whose_outputs_do_not_fit_is_no_suspected_crash() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("dumps");
    let limits = Limits { max_bytes: 10_000, ..Limits::default() };
    let recorder = recorder(&root, Arc::new(PtSerializer), limits);
    call(&recorder, 64, 50_000);
    assert_eq!(recorder.health().count(Ending::OutputsSkipped), 1);
    let source = callbox::open_session(&root).unwrap();
    let session = source.calls().unwrap();
    assert_eq!(session.calls[0].state, CallState::OutputsSkipped);
    let reason = source.record(&session.calls[0]).unwrap().record.reason.unwrap();
    assert!(reason.ends_with("more than the size limit leaves"), "{reason}");
}
