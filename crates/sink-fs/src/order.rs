//! Puts the calls of a session in the order in which they were made.

use callbox_core::DumpedCall;

/// Joins the calls that the index knows, in its order, with those that it lacks.
///
/// The index's order is kept: lines are appended as things happen, while clocks jump and several threads share
/// a millisecond. Each of the others goes behind the last indexed call that is not later than it, by timestamp,
/// process id and number; where clocks behave, that is its place.
pub(crate) fn merge(indexed: Vec<DumpedCall>, mut others: Vec<DumpedCall>) -> Vec<DumpedCall> {
    others.sort_by(|a, b| key(a).cmp(&key(b)).then_with(|| a.folder.cmp(&b.folder)));
    // Calls in front of the last one that is not later: the earliest of all that follow each call tells.
    let mut earliest_from: Vec<Key> = indexed.iter().map(key).collect();
    for place in (1..earliest_from.len()).rev() {
        if earliest_from[place] < earliest_from[place - 1] {
            earliest_from[place - 1] = earliest_from[place].clone();
        }
    }
    let mut places = Vec::with_capacity(others.len());
    for other in &others {
        places.push(earliest_from.partition_point(|earliest| *earliest <= key(other)));
    }
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

type Key = (String, u64, u64);

fn key(call: &DumpedCall) -> Key {
    (
        call.timestamp.clone(),
        call.process.process_id,
        call.call_sequence,
    )
}
