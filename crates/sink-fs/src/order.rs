//! Puts the calls of a session in the order in which they were made.

use callbox_core::DumpedCall;

/// Joins the calls that the index knows, in its order, with those that it lacks.
///
/// The index's order is kept: lines are appended as things happen, while clocks jump and several threads share
/// a millisecond. Each of the others goes behind the last indexed call that is not later than it, by timestamp,
/// process id and number; where clocks behave, that is its place.
pub(crate) fn merge(indexed: Vec<DumpedCall>, mut others: Vec<DumpedCall>) -> Vec<DumpedCall> {
    others.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.folder.cmp(&b.folder)));
    let places = places(&indexed, &others);
    let mut merged = Vec::with_capacity(indexed.len() + others.len());
    let mut others = others.into_iter().zip(places).peekable();
    for (place, call) in indexed.into_iter().enumerate() {
        while let Some((other, _)) = others.next_if(|(_, before)| *before <= place) {
            merged.push(other);
        }
        merged.push(call);
    }
    merged.extend(others.map(|(other, _)| other));
    merged
}

/// Returns, for each of the others, how many indexed calls go in front of it.
fn places(indexed: &[DumpedCall], others: &[DumpedCall]) -> Vec<usize> {
    // The earliest key from each place on. It never falls from one place to the next, so the last call that is
    // not later than another can be found by halving.
    let mut earliest: Vec<_> = indexed.iter().map(key).collect();
    for place in (1..earliest.len()).rev() {
        earliest[place - 1] = earliest[place - 1].min(earliest[place]);
    }
    others.iter().map(|other| earliest.partition_point(|earliest| *earliest <= key(other))).collect()
}

fn key(call: &DumpedCall) -> (&str, u64, u64) {
    (&call.timestamp, call.process.process_id, call.call_sequence)
}

#[cfg(test)]
mod tests {
    use callbox_core::CallState;
    use proptest::prelude::*;

    use super::*;
    use crate::call_facts::call_without_record;

    fn calls(times: &[u32]) -> Vec<DumpedCall> {
        let call = |time| {
            let folder = format!("20260101_000000_{time:03}_pid1_f_call0001");
            call_without_record(folder, CallState::NotStarted)
        };
        times.iter().map(call).collect()
    }

    fn check(indexed: &[u32], others: &[u32], merged: &[u32]) {
        let folders = |calls: Vec<DumpedCall>| calls.into_iter().map(|call| call.folder).collect::<Vec<_>>();
        assert_eq!(folders(merge(calls(indexed), calls(others))), folders(calls(merged)));
    }

    #[test]
    fn calls_that_the_index_lacks_go_where_their_time_says() {
        check(&[1, 3, 5], &[6, 2, 0, 4], &[0, 1, 2, 3, 4, 5, 6]);
        check(&[], &[3, 1, 2], &[1, 2, 3]);
        check(&[2, 2, 2], &[2], &[2, 2, 2, 2]);
    }

    #[test]
    fn the_index_s_order_stands_where_clocks_jump() {
        // The clock was set back behind 900.
        check(&[900, 100, 200, 300], &[250, 950], &[900, 100, 200, 250, 300, 950]);
        check(&[100, 900, 800, 700, 200], &[250], &[100, 900, 800, 700, 200, 250]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_index_s_order_stands(
            indexed in prop::collection::vec(0u32..50, 0..12),
            others in prop::collection::vec(50u32..100, 0..12),
            shift in 0u32..50,
        ) {
            let others: Vec<u32> = others.iter().map(|time| time - shift).collect();
            let (marked, free) = (calls(&indexed), calls(&others));
            let merged = merge(
                marked.iter().cloned().map(|mut call| { call.self_id = Some(1); call }).collect(),
                free.clone(),
            );
            prop_assert_eq!(merged.len(), marked.len() + free.len());
            let kept: Vec<_> = merged.iter().filter(|c| c.self_id.is_some()).map(|c| &c.folder).collect();
            prop_assert!(kept.into_iter().eq(marked.iter().map(|c| &c.folder)));
            let placed: Vec<_> = merged.iter().filter(|c| c.self_id.is_none()).map(|c| &c.timestamp).collect();
            prop_assert!(placed.is_sorted());
        }
    }
}
