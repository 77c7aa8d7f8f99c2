//! CRC-32 of large entries, computed by several threads.

use std::num::NonZeroUsize;
use std::thread::{self, Builder};

use crc32fast::Hasher;

/// Below this size a thread costs more than it saves.
const WORTH_THREADS: usize = 8 << 20;
/// One thread comes near to what the memory gives; more than a few bring nothing.
const MOST_THREADS: usize = 4;

/// Computes the CRC-32 of `data`.
///
/// A checksum is one more pass over memory, and over a mapping it is the pass that brings the pages in. A large
/// entry is therefore cut into parts that are summed at the same time, each on a thread that ends before this
/// function returns.
pub(super) fn crc32(data: &[u8]) -> u32 {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS);
    if threads == 1 || data.len() < WORTH_THREADS {
        return crc32fast::hash(data);
    }
    crc32_in_parts(data, data.len().div_ceil(threads))
}

fn crc32_in_parts(data: &[u8], part: usize) -> u32 {
    let sum = |part: &[u8]| {
        let mut hasher = Hasher::new();
        hasher.update(part);
        hasher
    };
    let (first, rest) = data.split_at(part.min(data.len()));
    thread::scope(|scope| {
        let others: Vec<_> = rest
            .chunks(part)
            // Where there is no thread to be had, this one does the work.
            .map(|part| Builder::new().spawn_scoped(scope, move || sum(part)).map_err(|_| sum(part)))
            .collect();
        let mut total = sum(first);
        for other in others {
            let other = other.map(|thread| thread.join().expect("summing bytes does not panic"));
            total.combine(&other.unwrap_or_else(|sum| sum));
        }
        total.finalize()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_give_the_sum_of_the_whole(data in prop::collection::vec(any::<u8>(), 0..500), part in 1usize..200) {
            prop_assert_eq!(crc32_in_parts(&data, part), crc32fast::hash(&data));
        }
    }
}
