//! The loop: one pass over the bytes, compiled a second time for CPUs with wider vectors.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::element::{Element, Key, LANES, Widen};
use super::{SpecialCounts, Stats, widen};

/// Elements that are compared and summed before anyone asks whether all of them were finite.
const BLOCK: usize = 1024;

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
        let (mut min, mut max) = (E::Key::MAX, E::Key::MIN);
        for &code in codes {
            let key = E::key(code);
            min = min.min(key);
            max = max.max(key);
        }
        self.min = self.min.min(min);
        self.max = self.max.max(max);
        if !(E::is_finite(min) && E::is_finite(max)) {
            self.count_special(codes);
            return;
        }
        let mut sums = sum::<E>(codes, widen);
        if sums.iter().any(|sum| !sum.is_finite()) {
            sums = sum_of_large::<E>(codes);
        }
        for (total, sum) in self.sums.iter_mut().zip(sums) {
            *total += sum;
        }
    }

    /// Counts what is not finite. The other elements of the block do not matter: the mean is not finite either.
    #[cold]
    #[inline(never)]
    fn count_special(&mut self, codes: &[E::Code]) {
        for key in codes.iter().map(|code| E::key(*code)) {
            self.special.nan += u64::from(E::is_nan(key));
            self.special.infinite += u64::from(!E::is_finite(key) && !E::is_nan(key));
        }
    }
}

#[multiversion(targets("x86_64+avx2+f16c"))]
fn add<E: Element>(scan: &mut Scan<E>, codes: &[E::Code]) {
    for block in codes.chunks(BLOCK) {
        match_target! {
            "x86_64+avx2+f16c" => scan.add_block(block, |halves| widen::by_f16c(halves)),
            _ => scan.add_block(block, widen::by_bits),
        }
    }
}

/// Sums finite elements in f32, sixteen in a row at most.
#[inline(always)]
fn sum<E: Element>(codes: &[E::Code], widen: impl Widen) -> [f64; 8] {
    let mut sums = [0.0; LANES];
    let (groups, rest) = codes.as_chunks();
    for group in groups {
        E::add(&mut sums, group, &widen);
    }
    if !rest.is_empty() {
        E::add(&mut sums, &padded(rest), &widen);
    }
    fold(&sums)
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
