//! The sequences of an attention, as `attention.cu` finds them: bounds, pages, masks.

use callbox_core::ExecError;
use callbox_functions::{Sequence, Tokens};

use super::memory::{Memory, Run};
use super::types::count;

/// Sequences whose rows follow each other, and their keys too where these are not in pages: one launch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// `[n + 1]`: the rows of each.
    qo_indptr: Vec<i32>,
    /// `[n + 1]`: the pages of each among `indices`; without pages its tokens.
    kv_indptr: Vec<i32>,
    indices: Vec<i32>,
    last_page_len: Vec<i32>,
    /// 0: there are no pages.
    pub(super) page_size: u32,
    mask: Option<Mask>,
    /// Rows of the sequence that has most.
    pub(super) most_rows: usize,
}

/// The bits of all sequences, and the byte at which those of each begin.
#[derive(Debug, Default)]
struct Mask {
    bits: Vec<u8>,
    starts: Vec<i64>,
}

/// Cuts sequences into batches of one launch each.
pub(super) fn batches(sequences: &[Sequence<'_>]) -> impl Iterator<Item = Result<Batch, ExecError>> {
    sequences.chunk_by(follows).map(Batch::of)
}

/// Tells whether a sequence goes on where the one before it ends, in the same way.
fn follows(before: &Sequence<'_>, sequence: &Sequence<'_>) -> bool {
    let keys_follow = match (before.keys, sequence.keys) {
        (Tokens::Slots { start, len }, Tokens::Slots { start: next, .. }) => start + len == next,
        (Tokens::Pages { page_size, .. }, Tokens::Pages { page_size: other, .. }) => page_size == other,
        (Tokens::Slots { .. }, Tokens::Pages { .. }) | (Tokens::Pages { .. }, Tokens::Slots { .. }) => false,
    };
    keys_follow && before.rows.end == sequence.rows.start && before.mask.is_some() == sequence.mask.is_some()
}

impl Batch {
    fn of(sequences: &[Sequence<'_>]) -> Result<Batch, ExecError> {
        let mut batch = Batch::default();
        sequences.iter().try_for_each(|sequence| batch.add(sequence))?;
        Ok(batch)
    }

    fn add(&mut self, sequence: &Sequence<'_>) -> Result<(), ExecError> {
        let Sequence { rows, keys, mask } = sequence;
        if self.qo_indptr.is_empty() {
            self.qo_indptr.push(count("q", rows.start)?);
        }
        self.qo_indptr.push(count("q", rows.end)?);
        self.most_rows = self.most_rows.max(rows.len());
        match *keys {
            Tokens::Slots { start, len } => {
                if self.kv_indptr.is_empty() {
                    self.kv_indptr.push(count("k", start)?);
                }
                self.kv_indptr.push(count("k", start + len)?);
            }
            Tokens::Pages { pages, page_size, len } => self.add_pages(pages, page_size, len)?,
        }
        if let Some(mask) = mask {
            let bytes = (rows.len() * keys.count()).div_ceil(8);
            let all = self.mask.get_or_insert_default();
            all.starts.push(all.bits.len() as i64);
            all.bits.extend(&mask.as_bytes()[..bytes]);
        }
        Ok(())
    }

    fn add_pages(&mut self, pages: &[usize], page_size: usize, len: usize) -> Result<(), ExecError> {
        if self.kv_indptr.is_empty() {
            self.kv_indptr.push(0);
        }
        for &page in pages {
            self.indices.push(count("paged_kv_cache", page)?);
        }
        self.kv_indptr.push(count("paged_kv_cache", self.indices.len())?);
        let full = pages.len().saturating_sub(1) * page_size;
        self.last_page_len.push(count("paged_kv_cache", len - full)?);
        self.page_size = count("page_size", page_size)?;
        Ok(())
    }

    /// Returns the number of sequences.
    pub(super) fn len(&self) -> usize {
        self.qo_indptr.len() - 1
    }

    pub(super) fn upload(&self, run: &Run<'_>) -> Result<Uploaded, ExecError> {
        let mask = match &self.mask {
            Some(mask) => Some([run.upload(&mask.bits)?, run.upload_numbers(&mask.starts)?]),
            None => None,
        };
        Ok(Uploaded {
            qo_indptr: run.upload_numbers(&self.qo_indptr)?,
            kv_indptr: run.upload_numbers(&self.kv_indptr)?,
            indices: run.upload_numbers(&self.indices)?,
            last_page_len: run.upload_numbers(&self.last_page_len)?,
            mask,
        })
    }
}

/// A batch on the device.
#[derive(Debug)]
pub(super) struct Uploaded {
    pub(super) qo_indptr: Memory,
    pub(super) kv_indptr: Memory,
    pub(super) indices: Memory,
    pub(super) last_page_len: Memory,
    /// Bits, and where those of each sequence begin.
    pub(super) mask: Option<[Memory; 2]>,
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn slots(rows: Range<usize>, start: usize, len: usize) -> Sequence<'static> {
        Sequence { rows, keys: Tokens::Slots { start, len }, mask: None }
    }

    #[test]
    fn sequences_that_do_not_follow_each_other_are_batches_of_their_own() {
        let sequences = [slots(2..3, 0, 4), slots(3..6, 4, 0), slots(7..8, 4, 2), slots(8..8, 7, 1)];
        let batches: Vec<_> = batches(&sequences).map(Result::unwrap).collect();
        let bounds: Vec<_> = batches
            .iter()
            .map(|batch| (&batch.qo_indptr[..], &batch.kv_indptr[..], batch.most_rows))
            .collect();
        assert_eq!(
            bounds,
            [(&[2, 3, 6][..], &[0, 4, 4][..], 3), (&[7, 8], &[4, 6], 1), (&[8, 8], &[7, 8], 0)]
        );
    }

    #[test]
    fn pages_are_put_together_and_the_last_of_each_has_what_is_left() {
        let (first, none, last) = ([5, 1], [], [0]);
        let pages = |rows, pages, len| Sequence {
            rows,
            keys: Tokens::Pages { pages, page_size: 4, len },
            mask: None,
        };
        let sequences = [pages(0..1, &first[..], 7), pages(1..2, &none[..], 0), pages(2..3, &last[..], 4)];
        let batches: Vec<_> = batches(&sequences).map(Result::unwrap).collect();
        let [batch] = &batches[..] else { panic!("{batches:?}") };
        assert_eq!((&batch.indices[..], batch.page_size), (&[5, 1, 0][..], 4));
        assert_eq!((&batch.kv_indptr[..], &batch.last_page_len[..]), (&[0, 2, 2, 3][..], &[3, 0, 4][..]));
    }
}
