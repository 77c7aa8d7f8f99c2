use std::collections::HashSet;

use callbox_core::{CallState, DumpSource, DumpedCall, Group};

/// Checks what every source of recorded calls must do, on a session with at least one completed call.
///
/// # Panics
///
/// Where the source breaks a promise of its port.
pub fn source(source: &dyn DumpSource) {
    let session = source.calls().expect("a session can be listed");
    let mut folders = HashSet::new();
    for call in &session.calls {
        assert!(folders.insert(&call.folder), "{} is listed twice", call.folder);
        if call.state != CallState::Completed {
            continue;
        }
        let record = source.record(call).expect("a completed call has a record").record;
        assert_eq!(record.function, call.function, "{}", call.folder);
        assert_eq!(record.tensor_info.input_keys.len(), call.inputs.tensors, "{}", call.folder);
        assert_eq!(record.tensor_info.output_keys.len(), call.outputs.tensors, "{}", call.folder);
        for (group, keys) in [
            (Group::Inputs, &record.tensor_info.input_keys),
            (Group::Outputs, &record.tensor_info.output_keys),
        ] {
            let tensors = source.load(call, group).expect("its tensors can be loaded");
            assert_eq!(tensors.is_some(), !keys.is_empty(), "{} {group:?}", call.folder);
            let tensors = tensors.unwrap_or_default();
            assert!(keys.iter().all(|key| tensors.get(key).is_some()), "{} {group:?}", call.folder);
        }
    }
    let completed = session.calls.iter().find(|call| call.state == CallState::Completed);
    what_was_never_recorded_is_not_there(source, completed.expect("the session has a completed call"));
    let again = source.calls().expect("a session can be listed again");
    let order = |calls: &[DumpedCall]| calls.iter().map(|c| c.folder.clone()).collect::<Vec<_>>();
    assert_eq!(order(&session.calls), order(&again.calls), "the order does not change");
}

fn what_was_never_recorded_is_not_there(source: &dyn DumpSource, call: &DumpedCall) {
    let mut stranger = call.clone();
    stranger.folder.push_str("_never_recorded");
    let answer = source.record(&stranger);
    assert!(answer.is_err(), "a call that is not in the session has no record: {answer:?}");
    for group in Group::ALL {
        let answer = source.load(&stranger, group);
        assert!(!matches!(answer, Ok(Some(_))), "nor has it tensors: {group:?} {answer:?}");
    }
}
