//! The loop: one pass over the bytes, compiled again for each kind of CPU that has wider vectors.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::element::{Element, Key, LANES, Widen};
use super::{SpecialCounts, Stats, widen};

/// Elements that are compared and summed before anyone asks whether all of them were finite.
const BLOCK: usize = 1024;
/// Groups of lanes that are compared, and then summed. One after the other, the loads come too slowly; a whole
/// block at a time, the memory waits while it is summed.
const TILE: usize = 4;

/// What is known of the elements so far.
///
/// A block is summed in f32, sixteen elements in a row at most, and the blocks in f64.
pub(super) struct Scan<E: Element> {
    min: E::Key,
    max: E::Key,
    sums: [f64; 8],
    special: SpecialCounts,
}

impl<E: Element> Scan<E> {
    pub(super) fn new() -> Scan<E> {
        Scan { min: E::Key::MAX, max: E::Key::MIN, sums: [0.0; 8], special: SpecialCounts::default() }
    }

    /// Takes whole elements, little endian.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        add(self, E::codes(bytes));
    }

    /// Gives the statistics of a tensor of `numel` elements that has each of those taken `copies` times.
    ///
    /// The sum is rounded to f32 before it is divided, as torch does it: beyond f32 it is infinite.
    pub(super) fn finish(self, copies: usize, numel: usize) -> Stats {
        let sum = self.sums.iter().sum::<f64>() * E::SCALE * copies as f64;
        let mean = sum as f32 / numel as f32;
        let SpecialCounts { nan, infinite } = self.special;
        let special = SpecialCounts { nan: nan * copies as u64, infinite: infinite * copies as u64 };
        E::stats(self.min, self.max, mean, special)
    }

    #[inline(always)]
    fn add_block(&mut self, codes: &[E::Code], widen: impl Widen) {
        let mut extremes = Extremes::<E>::new();
        let mut sums = [0.0; LANES];
        let (groups, rest) = codes.as_chunks();
        for tile in groups.chunks(TILE) {
            for group in tile {
                extremes.add(group);
            }
            for group in tile {
                E::add(&mut sums, group, &widen);
            }
        }
        if !rest.is_empty() {
            extremes.add(rest);
            E::add(&mut sums, &padded(rest), &widen);
        }
        let (min, max) = extremes.finish();
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        if !(E::is_finite(min) && E::is_finite(max)) {
            self.count_special(codes);
            return;
        }
        let mut sums = fold(&sums);
        if sums.iter().any(|sum| !sum.is_finite()) {
            sums = sum_of_large::<E>(codes);
        }
        for (total, sum) in self.sums.iter_mut().zip(sums) {
            *total += sum;
        }
    }

    /// Counts what is not finite. The block's other elements do not matter: the mean is not finite either.
    #[inline(always)]
    fn count_special(&mut self, codes: &[E::Code]) {
        let (mut nan, mut finite) = (0u32, 0u32);
        for code in codes {
            let key = E::key(*code);
            nan += u32::from(E::is_nan(key));
            finite += u32::from(E::is_finite(key));
        }
        self.special.nan += u64::from(nan);
        self.special.infinite += codes.len() as u64 - u64::from(nan) - u64::from(finite);
    }
}

/// The least and the greatest key of each lane.
struct Extremes<E: Element> {
    min: [E::Key; LANES],
    max: [E::Key; LANES],
}

impl<E: Element> Extremes<E> {
    #[inline(always)]
    fn new() -> Extremes<E> {
        Extremes { min: [E::Key::MAX; LANES], max: [E::Key::MIN; LANES] }
    }

    /// Takes at most as many elements as there are lanes.
    #[inline(always)]
    fn add(&mut self, codes: &[E::Code]) {
        for ((min, max), code) in self.min.iter_mut().zip(&mut self.max).zip(codes) {
            let key = E::key(*code);
            *min = key.min(*min);
            *max = key.max(*max);
        }
    }

    #[inline(always)]
    fn finish(self) -> (E::Key, E::Key) {
        let min = self.min.into_iter().fold(E::Key::MAX, Ord::min);
        (min, self.max.into_iter().fold(E::Key::MIN, Ord::max))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx2+f16c", "x86_64+avx2+f16c"))]
fn add<E: Element>(scan: &mut Scan<E>, codes: &[E::Code]) {
    for block in codes.chunks(BLOCK) {
        match_target! {
            "x86_64+avx2+f16c" => scan.add_block(block, |halves| widen::by_f16c(halves)),
            _ => scan.add_block(block, widen::by_bits),
        }
    }
}

/// Sums finite elements in f64.
#[cold]
#[inline(never)]
fn sum_of_large<E: Element>(codes: &[E::Code]) -> [f64; 8] {
    let mut totals = [0.0; 8];
    for codes in codes.chunks(LANES) {
        let mut values = [0.0; LANES];
        E::add(&mut values, &padded(codes), widen::by_bits);
        for (total, sum) in totals.iter_mut().zip(fold(&values)) {
            *total += sum;
        }
    }
    totals
}

#[inline(always)]
fn padded<C: Copy + Default>(codes: &[C]) -> [C; LANES] {
    let mut padded = [C::default(); LANES];
    padded[..codes.len()].copy_from_slice(codes);
    padded
}

#[inline(always)]
fn fold(sums: &[f32; LANES]) -> [f64; 8] {
    let mut totals = [0.0; 8];
    for eight in sums.as_chunks::<8>().0 {
        for (total, sum) in totals.iter_mut().zip(eight) {
            *total += f64::from(*sum);
        }
    }
    totals
}
