//! Writing keys and values into a paged cache.

use callbox_core::{ExecError, TensorBuf};
use callbox_functions::{KvLayout, PageAppend};

/// Solves [`PageAppend`].
pub(crate) fn append(problem: &PageAppend<'_>) -> Result<TensorBuf, ExecError> {
    let PageAppend { cache, heads, page_size, .. } = *problem;
    let head_bytes = problem.width * cache.dtype().item_size();
    let page_bytes = page_size * heads * head_bytes;
    let mut bytes = cache.to_bytes();
    for (part, rows) in problem.rows.iter().enumerate() {
        let rows = rows.to_bytes();
        let mut sources = rows.chunks_exact(head_bytes.max(1));
        for slot in problem.slots {
            let page = (slot.page * problem.rows.len() + part) * page_bytes;
            for (head, source) in sources.by_ref().take(heads).enumerate() {
                let place = match problem.layout {
                    KvLayout::Nhd => slot.entry * heads + head,
                    KvLayout::Hnd => head * page_size + slot.entry,
                };
                let at = page + place * head_bytes;
                bytes[at..at + head_bytes].copy_from_slice(source);
            }
        }
    }
    TensorBuf::from_elements(cache.dtype(), cache.shape(), bytes)
        .map_err(|source| ExecError::Device(source.into()))
}

#[cfg(test)]
mod tests {
    use callbox_core::{DType, OwnedValue, TensorBuf, Value};
    use proptest::prelude::*;

    use crate::trial::{Argument, Trial, byte_tensor, call, ints, longs, random, scattered};

    const PAGES: usize = 6;

    /// Two sequences: the first has pages 4 and 1, the second pages 0, 5 and 2.
    const INDICES: &[i32] = &[4, 1, 0, 5, 2];
    const INDPTR: &[i32] = &[0, 2, 5];

    fn append(keys: &TensorBuf, values: &TensorBuf, tokens: &[(i32, i32)]) -> Trial {
        let (batches, positions): (Vec<_>, Vec<_>) = tokens.iter().copied().unzip();
        call("append_paged_kv_cache")
            .with(keys.clone())
            .with(values.clone())
            .with(ints(&batches))
            .with(longs(&positions))
    }

    fn into_cache(append: Trial, cache: impl Argument) -> Trial {
        append.with(cache).with(ints(INDICES)).with(ints(INDPTR)).with(ints(&[1, 1]))
    }

    proptest! {
        #[test]
        fn each_row_lands_in_its_slot_and_nothing_else_changes(
            (page_size, heads, width) in (1usize..5, 1usize..4, 1usize..6),
            dtype in prop::sample::select(vec![DType::Float16, DType::Float32, DType::Float8E4M3Fn]),
            tokens in prop::collection::vec((0i32..2, 0i32..8), 0..6),
            hnd: bool,
            seed: u64,
        ) {
            let tokens: Vec<_> = tokens.into_iter().filter(|(_, at)| (*at as usize) < 2 * page_size).collect();
            let page_shape = if hnd { [heads, page_size, width] } else { [page_size, heads, width] };
            let half = random(dtype, &[&[PAGES][..], &page_shape].concat(), seed);
            let both = random(dtype, &[&[PAGES, 2][..], &page_shape].concat(), !seed);
            let (keys, values) = (
                random(dtype, &[tokens.len(), heads, width], seed ^ 1),
                random(dtype, &[tokens.len(), heads, width], seed ^ 2),
            );
            // By the definition: element (page, half, slot, head, i) of the cache, one at a time.
            let item = dtype.item_size();
            let expected = |cache: &TensorBuf, halves: usize, half: usize, rows: &TensorBuf| {
                let (mut bytes, rows) = (cache.to_bytes(), rows.to_bytes());
                for (row, &(batch, position)) in tokens.iter().enumerate() {
                    let nth = INDPTR[batch as usize] as usize + position as usize / page_size;
                    let (page, slot) = (INDICES[nth] as usize, position as usize % page_size);
                    for head in 0..heads {
                        for i in 0..width {
                            let inner = if hnd { head * page_size + slot } else { slot * heads + head };
                            let to = (((page * halves + half) * heads * page_size + inner) * width + i) * item;
                            let from = ((row * heads + head) * width + i) * item;
                            bytes[to..to + item].copy_from_slice(&rows[from..from + item]);
                        }
                    }
                }
                byte_tensor(&[bytes.len()], &bytes)
            };
            let layout = if hnd { "HND" } else { "NHD" };
            let append = || append(&scattered(&keys), &values, &tokens);

            let written = into_cache(append(), scattered(&both)).named("kv_layout", layout).in_place();
            let Value::Tensor(cache) = &written[4] else { panic!("{written:?}") };
            let with_keys = expected(&both, 2, 0, &keys);
            prop_assert_eq!(cache.to_bytes(), expected(&with_keys, 2, 1, &values).to_bytes());
            prop_assert_eq!(cache.layout().clone(), scattered(&both).layout().clone());

            let pair: OwnedValue = Value::tuple(vec![Value::Tensor(half.clone()), Value::Tensor(half.clone())]);
            let written = into_cache(append(), pair).named("kv_layout", layout).in_place();
            let Value::Tuple { items, .. } = &written[4] else { panic!("{written:?}") };
            for (written, rows) in items.iter().zip([&keys, &values]) {
                let Value::Tensor(written) = written else { panic!("{written:?}") };
                prop_assert_eq!(written.to_bytes(), expected(&half, 1, 0, rows).to_bytes());
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let rows = |heads| random(DType::Float16, &[1, heads, 4], 1);
        let cache = || random(DType::Float16, &[PAGES, 2, 3, 2, 4], 2);
        let error = |tokens: &[(i32, i32)]| into_cache(append(&rows(2), &rows(2), tokens), cache()).error();
        assert_eq!(error(&[(3, 0)]), "argument `batch_indices` is 3: `kv_indptr` has no such entry");
        assert_eq!(error(&[(0, -1)]), "argument `positions` is -1: a position cannot be negative");
        assert_eq!(error(&[(1, 9)]), "argument `positions` is 9: `kv_indices` has no page for it");
        assert_eq!(error(&[]), "argument `batch_indices` has shape [0], expected [1], one for each row");
        let few_pages = random(DType::Float16, &[4, 2, 3, 2, 4], 2);
        assert_eq!(
            into_cache(append(&rows(2), &rows(2), &[(0, 0)]), few_pages).error(),
            "argument `kv_indices` is 4: the cache has 4 pages"
        );
        assert_eq!(
            into_cache(append(&rows(3), &rows(3), &[(0, 0)]), cache()).error(),
            "argument `paged_kv_cache` has shape [6, 2, 3, 2, 4], expected [pages, 2, page_size, 3, 4] for NHD"
        );
        assert_eq!(
            into_cache(
                append(&rows(2), &rows(2), &[(0, 0)]),
                random(DType::Float32, &[PAGES, 2, 3, 2, 4], 2)
            )
            .error(),
            "argument `append_key` is a tensor of torch.float16, expected a tensor of the dtype of `paged_kv_cache`"
        );
        assert_eq!(
            into_cache(append(&rows(2), &rows(3), &[(0, 0)]), cache()).error(),
            "argument `append_value` has shape [1, 3, 4], expected [1, 2, 4], the shape of `append_key`"
        );
        assert_eq!(
            into_cache(append(&rows(2), &rows(2), &[(0, 0)]), cache()).named("kv_layout", "nhd").error(),
            "argument `kv_layout` is nhd: expected NHD or HND"
        );
        let pair_of_two = Value::List(vec![Value::Tensor(cache()), Value::Tensor(cache())]);
        assert_eq!(
            into_cache(append(&rows(2), &rows(2), &[(0, 0)]), pair_of_two).error(),
            "argument `paged_kv_cache` is a value of type list, expected a tensor"
        );
    }
}
