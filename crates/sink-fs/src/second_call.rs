//! Two calls in one folder.

use callbox_core::ExecutionStatus;

/// What a line says that tells its call from others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) function: &'a str,
    pub(crate) module: &'a str,
    /// Zero where it is unknown; calls are counted from 1.
    pub(crate) call_sequence: u64,
    /// Zero where it is unknown.
    pub(crate) process_id: u64,
    /// Host and process number.
    pub(crate) origin: Option<(&'a str, &'a str)>,
    /// The line says how an eager call ended; a captured one ends anew with each flush.
    pub(crate) has_ended: bool,
}

/// Tells whether a line of this status is the last one of its call.
pub(crate) fn has_ended(status: &ExecutionStatus, graph_capture: bool) -> bool {
    match status {
        ExecutionStatus::Completed | ExecutionStatus::Failed | ExecutionStatus::OutputsSkipped => {
            !graph_capture
        }
        ExecutionStatus::InputsSaved
        | ExecutionStatus::GraphCapturePendingFlush
        | ExecutionStatus::Other(_) => false,
    }
}

/// Says so where the next line about a folder begins another call than the one before it was about, or is one too
/// many.
///
/// Two processes with one process id may share a folder. An eager call's inputs are saved once, so a second such
/// line is of a second call even where nothing else tells them apart; `saves_inputs` is this of the later line.
pub(crate) fn second_call(
    folder: &str,
    earlier: Identity<'_>,
    later: Identity<'_>,
    saves_inputs: bool,
) -> Option<String> {
    let differ = |earlier: u64, later: u64| earlier != 0 && later != 0 && earlier != later;
    let of_another_call = (earlier.function, earlier.module) != (later.function, later.module)
        || earlier.origin != later.origin
        || differ(earlier.call_sequence, later.call_sequence)
        || differ(earlier.process_id, later.process_id);
    if of_another_call || saves_inputs {
        return Some(format!("a second call was recorded into {folder}; one of them has lost its tensors"));
    }
    earlier.has_ended.then(|| "the call had ended before this line; the last line counts".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Identity<'_> = Identity {
        function: "f",
        module: "m",
        call_sequence: 1,
        process_id: 7,
        origin: Some(("a", "9f")),
        has_ended: false,
    };

    fn check(later: Identity<'_>, is_second: bool) {
        assert_eq!(second_call("x", CALL, later, false).is_some(), is_second, "{later:?}");
        assert!(second_call("x", CALL, later, true).is_some(), "{later:?}");
    }

    #[test]
    fn a_line_is_of_a_second_call_where_something_known_differs() {
        check(CALL, false);
        check(Identity { function: "g", ..CALL }, true);
        check(Identity { module: "n", ..CALL }, true);
        check(Identity { call_sequence: 2, ..CALL }, true);
        check(Identity { process_id: 8, ..CALL }, true);
        check(Identity { origin: Some(("b", "9f")), ..CALL }, true);
        check(Identity { origin: None, ..CALL }, true);
    }

    #[test]
    fn a_line_behind_the_ending_is_one_too_many() {
        let remark = second_call("x", Identity { has_ended: true, ..CALL }, CALL, false);
        assert!(remark.unwrap().starts_with("the call had ended before this line"));
        assert!(has_ended(&ExecutionStatus::Failed, false) && !has_ended(&ExecutionStatus::Failed, true));
    }

    #[test]
    fn what_is_unknown_tells_nothing_apart() {
        check(Identity { call_sequence: 0, process_id: 0, ..CALL }, false);
    }
}
