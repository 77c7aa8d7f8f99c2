//! Forking while captured calls are flushed.

use std::process::Command;
use std::sync::Arc;

use callbox_core::{CallState, DumpSource, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_sink_fs::{FsSource, ReadOptions};
use callbox_verify::{VerifyOptions, verify};

use crate::workers::{ends_well, folder};

/// As many as the program forks, and how often each flushes.
const CHILDREN: usize = 8;
const FLUSHES_OF_A_CHILD: u64 = 3;

/// A child has nothing of the memory on a device that its parent's calls hold: it neither flushes them nor waits for a
/// flush that the parent had begun.
#[test]
fn p18_a_child_flushes_the_calls_that_it_captured_itself() {
    let folder = folder();
    let dumps = folder.path().join("dumps");
    let mut program = Command::new(env!("CARGO_BIN_EXE_forked_graphs"));
    program
        .env("FLASHINFER_LOGLEVEL", "10")
        .env("FLASHINFER_LOGDEST", folder.path().join("logs/%i.log"))
        .env("FLASHINFER_DUMP_DIR", &dumps);
    ends_well(program);
    let formats: Vec<Arc<dyn TensorSerializer>> = vec![Arc::new(PtSerializer)];
    let calls =
        FsSource::open(&dumps, formats.clone(), ReadOptions::default()).unwrap().calls().unwrap().calls;
    assert!(calls.iter().all(|call| call.state == CallState::Completed), "{calls:?}");
    let of_children = calls.iter().filter(|call| call.flush == Some(FLUSHES_OF_A_CHILD)).count();
    assert_eq!((calls.len(), of_children), (CHILDREN + 1, CHILDREN), "{calls:?}");
    let options = VerifyOptions { dir: &dumps, formats, read: ReadOptions::default() };
    let report = verify(&options, &mut |_, _| ()).unwrap();
    assert!(report.damages.is_empty() && report.notes.is_empty(), "{report:?}");
}
