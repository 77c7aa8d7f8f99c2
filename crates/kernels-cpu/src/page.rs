//! Writing keys and values into a paged cache (Kwon et al., "Efficient Memory Management for Large Language
//! Model Serving with PagedAttention", 2023).

use callbox_core::{Bound, Contract, DType, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::kv_layout::KvLayout;
use crate::operand;
use crate::table::{Function, Run};

pub(crate) const ROWS: &[Function] = &[Function {
    name: "append_paged_kv_cache",
    signature: "append_key, append_value, batch_indices, positions, paged_kv_cache, kv_indices, kv_indptr, \
                kv_last_page_len, kv_layout='NHD'",
    contract: Contract { writes: &["paged_kv_cache"], results: &[ResultRule::Values] },
    run: Run::Function(append_paged_kv_cache),
}];

/// Copies each row of keys and values to its slot in the cache, in place; returns None.
///
/// `append_key`, `append_value` `[nnz, heads, d]` in the dtype of the cache; `batch_indices`, `positions`
/// `[nnz]`. `paged_kv_cache` is a tensor `[pages, 2, page_size, heads, d]` (`NHD`) or
/// `[pages, 2, heads, page_size, d]` (`HND`), keys before values, or a tuple of the two halves, each without
/// dimension 1. Pages of one token may come without the dimension of `page_size`.
///
/// Row `i` goes to page `kv_indices[kv_indptr[batch_indices[i]] + positions[i] / page_size]`, slot
/// `positions[i] % page_size`. `kv_last_page_len` is not used.
fn append_paged_kv_cache(arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let shape: [usize; 3] = operand::sizes(arguments, "append_key", "[nnz, heads, d]")?;
    operand::expect_shape(arguments, "append_value", &shape, "the shape of `append_key`")?;
    let [nnz, heads, width] = shape;
    let pages = Pages::read(arguments, heads, width)?;
    let slots = slots(arguments, nnz, &pages)?;
    let keys = elements(arguments, "append_key", pages.dtype)?;
    let values = elements(arguments, "append_value", pages.dtype)?;
    match arguments.given_mut("paged_kv_cache") {
        Some(Value::Tensor(both)) => {
            let page = pages.page_bytes();
            pages.write(both, 2 * page, &slots, &[(0, &keys), (page, &values)])?;
        }
        Some(Value::Tuple { items, .. }) => {
            for (half, rows) in items.iter_mut().zip([&keys, &values]) {
                if let Value::Tensor(half) = half {
                    pages.write(half, pages.page_bytes(), &slots, &[(0, rows)])?;
                }
            }
        }
        Some(_) | None => {}
    }
    Ok(Value::None)
}

/// The shape of a cache's pages.
struct Pages {
    count: usize,
    page_size: usize,
    heads: usize,
    layout: KvLayout,
    dtype: DType,
    /// Bytes of one head of one token.
    head_bytes: usize,
}

impl Pages {
    /// Reads the shape from the cache, which must hold heads of `width` elements.
    fn read(arguments: &Bound<'_>, heads: usize, width: usize) -> Result<Pages, ExecError> {
        const NAME: &str = "paged_kv_cache";
        let layout = KvLayout::read(arguments)?;
        let (cache, before) = match arguments.value(NAME) {
            Value::Tuple { items, .. } => match &items[..] {
                [Value::Tensor(keys), Value::Tensor(values)] => {
                    if (values.shape(), values.dtype()) != (keys.shape(), keys.dtype()) {
                        let expected = format!("{:?} of {}, as the keys", keys.shape(), keys.dtype());
                        return Err(operand::wrong_shape(NAME, values.shape(), expected));
                    }
                    (keys, 1)
                }
                _ => return Err(operand::wrong_value(NAME, "a tuple", "expected two tensors")),
            },
            _ => (arguments.tensor(NAME)?, 2),
        };
        let (pages, page) = cache.shape().split_at(before.min(cache.shape().len()));
        let (count, page_size) = match (pages, layout, page) {
            (&[count] | &[count, 2], KvLayout::Nhd, &[page_size, h, d])
            | (&[count] | &[count, 2], KvLayout::Hnd, &[h, page_size, d])
                if (h, d) == (heads, width) && page_size > 0 =>
            {
                (count, page_size)
            }
            (&[count] | &[count, 2], _, &[h, d]) if (h, d) == (heads, width) => (count, 1),
            _ => {
                let pair = if before == 2 { "pages, 2" } else { "pages" };
                let expected = match layout {
                    KvLayout::Nhd => format!("[{pair}, page_size, {heads}, {width}] for NHD"),
                    KvLayout::Hnd => format!("[{pair}, {heads}, page_size, {width}] for HND"),
                };
                return Err(operand::wrong_shape(NAME, cache.shape(), expected));
            }
        };
        Ok(Pages {
            count,
            page_size,
            heads,
            layout,
            dtype: cache.dtype(),
            head_bytes: width * cache.dtype().item_size(),
        })
    }

    fn page_bytes(&self) -> usize {
        self.page_size * self.heads * self.head_bytes
    }

    /// Writes rows of `heads` heads to their slots.
    ///
    /// The pages lie `stride` bytes apart in the logical elements of `cache`; each part of `parts` says where
    /// in a page its rows go.
    fn write(
        &self,
        cache: &mut TensorBuf,
        stride: usize,
        slots: &[Slot],
        parts: &[(usize, &[u8])],
    ) -> Result<(), ExecError> {
        let mut bytes = operand::elements("paged_kv_cache", cache)?;
        for &(part, rows) in parts {
            let mut heads = rows.chunks_exact(self.head_bytes.max(1));
            for slot in slots {
                for (head, source) in heads.by_ref().take(self.heads).enumerate() {
                    let place = match self.layout {
                        KvLayout::Nhd => slot.entry * self.heads + head,
                        KvLayout::Hnd => head * self.page_size + slot.entry,
                    };
                    let at = slot.page * stride + part + place * self.head_bytes;
                    bytes[at..at + self.head_bytes].copy_from_slice(source);
                }
            }
        }
        cache
            .write_elements(&bytes)
            .map_err(|source| ExecError::Elements { argument: "paged_kv_cache".to_owned(), source })
    }
}

/// Where a token lies in the cache.
struct Slot {
    page: usize,
    entry: usize,
}

fn slots(arguments: &Bound<'_>, nnz: usize, pages: &Pages) -> Result<Vec<Slot>, ExecError> {
    let batch_indices = operand::integers_of(arguments, "batch_indices", &[nnz], "one for each row")?;
    let positions = operand::integers_of(arguments, "positions", &[nnz], "one for each row")?;
    let indptr = arguments.i64s("kv_indptr")?;
    let indices = arguments.i64s("kv_indices")?;

    let slot = |batch: i64, position: i64| {
        let first_page = entry(&indptr, batch)
            .ok_or_else(|| operand::wrong_value("batch_indices", batch, "`kv_indptr` has no such entry"))?;
        let position_in_pages = usize::try_from(position)
            .map_err(|_| operand::wrong_value("positions", position, "a position cannot be negative"))?;
        let nth_page = (position_in_pages / pages.page_size) as i64;
        let page = first_page
            .checked_add(nth_page)
            .and_then(|place| entry(&indices, place))
            .ok_or_else(|| operand::wrong_value("positions", position, "`kv_indices` has no page for it"))?;
        match usize::try_from(page) {
            Ok(page) if page < pages.count => Ok(Slot { page, entry: position_in_pages % pages.page_size }),
            Ok(_) | Err(_) => {
                let reason = format!("the cache has {} pages", pages.count);
                Err(operand::wrong_value("kv_indices", page, reason))
            }
        }
    };
    batch_indices.into_iter().zip(positions).map(|(batch, position)| slot(batch, position)).collect()
}

fn entry(values: &[i64], place: i64) -> Option<i64> {
    usize::try_from(place).ok().and_then(|place| values.get(place).copied())
}

/// Copies the elements of an argument out as bytes, if it has the dtype of the cache.
fn elements(arguments: &Bound<'_>, name: &str, dtype: DType) -> Result<Vec<u8>, ExecError> {
    let tensor = arguments.tensor(name)?;
    if tensor.dtype() != dtype {
        return Err(operand::wrong_dtype(name, "a tensor of the dtype of `paged_kv_cache`", tensor.dtype()));
    }
    operand::elements(name, tensor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
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
