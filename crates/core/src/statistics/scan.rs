//! The loop: one pass over the bytes, compiled a second time for CPUs with wider vectors.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::element::{Element, Key, Widen};
use super::{SpecialCounts, Stats, widen};

/// Elements that are compared and summed before anyone asks whether all of them were finite.
const BLOCK: usize = 1024;
/// Sums of a block that grow side by side.
const LANES: usize = 64;

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

#[inline(always)]
fn sum<E: Element>(codes: &[E::Code], widen: impl Widen) -> [f64; 8] {
    let mut sums = [[0.0; 8]; LANES / 8];
    let mut add = |group: &[E::Code; LANES]| {
        for (sums, codes) in sums.iter_mut().zip(group.as_chunks().0) {
            for (sum, value) in sums.iter_mut().zip(E::values(codes, &widen)) {
                *sum += value;
            }
        }
    };
    let (groups, rest) = codes.as_chunks();
    groups.iter().for_each(&mut add);
    if !rest.is_empty() {
        let mut padded = [E::Code::default(); LANES];
        padded[..rest.len()].copy_from_slice(rest);
        add(&padded);
    }
    let mut totals = [0.0; 8];
    for eight in sums {
        for (total, sum) in totals.iter_mut().zip(eight) {
            *total += f64::from(sum);
        }
    }
    totals
}

/// Sums elements of which sixteen are beyond f32 together.
#[cold]
#[inline(never)]
fn sum_of_large<E: Element>(codes: &[E::Code]) -> [f64; 8] {
    let mut totals = [0.0; 8];
    for codes in codes.chunks(8) {
        let mut padded = [E::Code::default(); 8];
        padded[..codes.len()].copy_from_slice(codes);
        for (total, value) in totals.iter_mut().zip(E::values(&padded, widen::by_bits)) {
            *total += f64::from(value);
        }
    }
    totals
}
