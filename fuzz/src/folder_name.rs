//! Names of call folders.

use callbox_core::{DumpSource, SlotName};

use crate::dump_folder::read;
use crate::scratch::Scratch;

/// Takes a name apart, spells it anew, and lists a session that has a folder of this name.
pub(crate) fn name(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(slot) = SlotName::parse(&text) {
        let spelled = slot.to_string();
        assert_eq!(SlotName::parse(&spelled), Some(slot), "{text:?}");
        // Numbers lose zeros in front and are padded to four digits: nothing else may change.
        assert!(spelled == text || text.contains("_pid0") || text.contains("_call"), "{text:?}: {spelled:?}");
    }
    let scratch = Scratch::new();
    scratch.write("session.jsonl", b"");
    if text.contains('/') || !scratch.write(&format!("{text}/inputs.pt"), b"PK") {
        return;
    }
    let Some(source) = scratch.open() else { return };
    let session = source.calls().expect("a folder that exists can be listed");
    let is_call = SlotName::parse(&text).is_some();
    assert_eq!(session.calls.iter().any(|call| call.folder == text), is_call, "{text:?}");
    read(&source);
}
