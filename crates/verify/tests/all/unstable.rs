//! Memory that others write while it is dumped.

use std::cell::Cell;

use callbox_core::{DType, DumpSource, Group, Layout, LiveValue, StorageId, TensorView, Value};
use callbox_sink_fs::Hashing;

use crate::recorded::{Recorded, floats, formats};

/// Bytes that are others at every look, as memory is that somebody else writes to.
struct Restless {
    looks: Cell<usize>,
    versions: Vec<Vec<u8>>,
    /// From this look on they stay.
    settled: usize,
}

impl Restless {
    fn new(settled: usize) -> Restless {
        let versions = (0..=settled as u8).map(|version| vec![version; 8]).collect();
        Restless { looks: Cell::new(0), versions, settled }
    }
}

impl AsRef<[u8]> for Restless {
    fn as_ref(&self) -> &[u8] {
        let look = self.looks.get();
        self.looks.set(look + 1);
        &self.versions[look.min(self.settled)]
    }
}

/// A tensor over bytes that change at each of the first `settled` looks.
fn restless<'a>(settled: usize) -> LiveValue<'a> {
    let layout = Layout::contiguous(&[2]).unwrap();
    let view = TensorView::held(DType::Float32, layout, StorageId::new(77), Restless::new(settled));
    Value::Tensor(view.unwrap())
}

const NEVER: usize = 200;

#[test]
fn u23_memory_that_changes_while_it_is_written_marks_the_dump() {
    for hashing in [Hashing::Xxh3, Hashing::Blake3, Hashing::Off] {
        for format in formats() {
            let recorded = Recorded::new(&format, hashing);
            recorded.call(restless(NEVER), Value::Tensor(floats(&[1.0]).as_view()).into());
            let source = recorded.source();
            let call = source.calls().unwrap().calls.remove(0);
            assert!(call.is_unstable, "the list tells it");
            let loaded = source.record(&call).unwrap();
            let files: Vec<_> = loaded.record.files.iter().map(|file| file.is_unstable).collect();
            assert_eq!(files, [true, false], "{format:?}: the inputs changed, the outputs did not");
            assert!(loaded.findings[0].message.starts_with("tensors changed while they were written: "));
            assert!(source.load(&call, Group::Inputs).unwrap().is_some(), "it can be used");
            assert_eq!((recorded.verify().damages.len(), recorded.verify().totals.unstable), (0, 1));
            let log = recorded.log.events().concat();
            let told =
                format!("tensors of engine.f changed while inputs.{} was written", format.format().extension);
            assert!(log.contains(&told), "{log}");
        }
    }
}

#[test]
fn memory_that_others_may_write_and_do_not_leaves_no_mark() {
    for format in formats() {
        let recorded = Recorded::new(&format, Hashing::Xxh3);
        recorded.call(restless(0), Value::None.into());
        let source = recorded.source();
        let call = source.calls().unwrap().calls.remove(0);
        assert!(!call.is_unstable);
        let metadata = std::fs::read_to_string(recorded.call_folder(1).join("metadata.jsonl")).unwrap();
        assert!(metadata.contains("\"hash\"") && !metadata.contains("unstable"), "{metadata}");
    }
}

/// What is borrowed or frozen is read once.
#[test]
fn memory_that_nobody_can_write_is_not_read_again() {
    let frozen = |settled| {
        let layout = Layout::contiguous(&[2]).unwrap();
        let view = TensorView::frozen(DType::Float32, layout, StorageId::new(77), Restless::new(settled));
        Value::Tensor(view.unwrap())
    };
    let recorded = Recorded::new(&formats()[0], Hashing::Xxh3);
    recorded.call(frozen(NEVER), Value::None.into());
    assert!(!recorded.source().calls().unwrap().calls[0].is_unstable);
}
