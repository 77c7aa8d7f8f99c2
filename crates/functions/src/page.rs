//! Writing keys and values into a paged cache (Kwon et al., "Efficient Memory Management for Large Language
//! Model Serving with PagedAttention", 2023).

use callbox_core::{Bound, Contract, ExecError, OwnedValue, ResultRule, TensorBuf, Value};

use crate::kernels::{Kernel, Kernels};
use crate::kv_layout::KvLayout;
use crate::table::Function;
use crate::{operand, output};

/// Writing a row of each tensor of `rows` to each of the `slots`; the rest of the cache stays.
///
/// The last of several rows for one slot stays.
#[derive(Debug)]
#[non_exhaustive]
pub struct PageAppend<'a> {
    /// `[pages, rows.len(), page_size, heads, width]` (`Nhd`) or `[pages, rows.len(), heads, page_size, width]`
    /// (`Hnd`), of any dtype. Where there is one tensor of rows its dimension may be missing, and that of
    /// `page_size` where it is 1: neither changes the order of the elements.
    pub cache: &'a TensorBuf,
    /// Keys and values, or one of them: each `[slots.len(), heads, width]` in the dtype of the cache.
    pub rows: &'a [&'a TensorBuf],
    /// Where the rows go.
    pub slots: &'a [PageSlot],
    /// Tokens of a page: at least one.
    pub page_size: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Elements of a head.
    pub width: usize,
    /// Whether slots or heads come first in a page.
    pub layout: KvLayout,
}

/// Where a token lies in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageSlot {
    /// A page of the cache.
    pub page: usize,
    /// Place in the page.
    pub entry: usize,
}

pub(crate) const ROWS: &[Function] = &[Function::new(
    Kernel::Append,
    Contract { writes: &["paged_kv_cache"], results: &[ResultRule::Values] },
    "append_paged_kv_cache",
    "append_key, append_value, batch_indices, positions, paged_kv_cache, kv_indices, kv_indptr, \
     kv_last_page_len, kv_layout='NHD'",
    append_paged_kv_cache,
)];

const CACHE: &str = "paged_kv_cache";

/// Copies each row of keys and values to its slot in the cache, in place; returns None.
///
/// `append_key`, `append_value` `[nnz, heads, d]` in the dtype of the cache; `batch_indices`, `positions`
/// `[nnz]`. `paged_kv_cache` is a tensor `[pages, 2, page_size, heads, d]` (`NHD`) or
/// `[pages, 2, heads, page_size, d]` (`HND`), keys before values, or a tuple of the two halves, each without
/// dimension 1. Pages of one token may come without the dimension of `page_size`.
///
/// Row `i` goes to page `kv_indices[kv_indptr[batch_indices[i]] + positions[i] / page_size]`, slot
/// `positions[i] % page_size`. `kv_last_page_len` is not used.
fn append_paged_kv_cache(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    let shape: [usize; 3] = operand::sizes(arguments, "append_key", "[nnz, heads, d]")?;
    operand::expect_shape(arguments, "append_value", &shape, "the shape of `append_key`")?;
    let [nnz, heads, width] = shape;
    let pages = Pages::read(arguments, heads, width)?;
    let slots = slots(arguments, nnz, &pages)?;
    let keys = rows(arguments, "append_key", pages.first())?;
    let values = rows(arguments, "append_value", pages.first())?;
    let mut append = |cache, rows: &[&TensorBuf]| {
        let Pages { page_size, layout, .. } = pages;
        let problem = PageAppend {
            cache: operand::readable(CACHE, cache)?,
            rows,
            slots: &slots,
            page_size,
            heads,
            width,
            layout,
        };
        output::checked(kernels.append(&problem)?, cache.dtype(), cache.shape())
    };
    let written = match pages.cache {
        Cache::Both(both) => vec![append(both, &[keys, values])?],
        Cache::Halves([key_cache, value_cache]) => {
            vec![append(key_cache, &[keys])?, append(value_cache, &[values])?]
        }
    };
    write(arguments, &written)?;
    Ok(Value::None)
}

/// Puts the caches' new elements into the argument, a tensor or a tuple of tensors.
fn write(arguments: &mut Bound<'_>, written: &[TensorBuf]) -> Result<(), ExecError> {
    let caches = match arguments.given_mut(CACHE) {
        Some(Value::Tuple { items, .. }) => &mut items[..],
        Some(single) => std::slice::from_mut(single),
        None => &mut [],
    };
    for (cache, written) in caches.iter_mut().zip(written) {
        if let Value::Tensor(cache) = cache {
            cache
                .write_elements(written.storage())
                .map_err(|source| ExecError::Elements { argument: CACHE.to_owned(), source })?;
        }
    }
    Ok(())
}

/// A cache's tensors, and the shape of its pages.
struct Pages<'a> {
    cache: Cache<'a>,
    count: usize,
    page_size: usize,
    layout: KvLayout,
}

/// The tensors of a cache.
#[derive(Clone, Copy)]
enum Cache<'a> {
    Both(&'a TensorBuf),
    /// Keys and values, of one shape and dtype.
    Halves([&'a TensorBuf; 2]),
}

impl<'a> Pages<'a> {
    /// Reads the cache, which must hold heads of `width` elements.
    fn read(arguments: &'a Bound<'_>, heads: usize, width: usize) -> Result<Pages<'a>, ExecError> {
        let layout = KvLayout::read(arguments)?;
        let (cache, first, before) = match arguments.value(CACHE) {
            Value::Tuple { items, .. } => match &items[..] {
                [Value::Tensor(keys), Value::Tensor(values)] => {
                    if (values.shape(), values.dtype()) != (keys.shape(), keys.dtype()) {
                        let expected = format!("{:?} of {}, as the keys", keys.shape(), keys.dtype());
                        return Err(operand::wrong_shape(CACHE, values.shape(), expected));
                    }
                    (Cache::Halves([keys, values]), keys, 1)
                }
                _ => return Err(operand::wrong_value(CACHE, "a tuple", "expected two tensors")),
            },
            _ => {
                let both = arguments.tensor(CACHE)?;
                (Cache::Both(both), both, 2)
            }
        };
        let (pages, page) = first.shape().split_at(before.min(first.shape().len()));
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
                return Err(operand::wrong_shape(CACHE, first.shape(), expected));
            }
        };
        Ok(Pages { cache, count, page_size, layout })
    }

    /// Returns the tensor whose dtype the rows must have.
    fn first(&self) -> &'a TensorBuf {
        match self.cache {
            Cache::Both(first) | Cache::Halves([first, _]) => first,
        }
    }
}

fn slots(arguments: &Bound<'_>, nnz: usize, pages: &Pages<'_>) -> Result<Vec<PageSlot>, ExecError> {
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
            Ok(page) if page < pages.count => {
                Ok(PageSlot { page, entry: position_in_pages % pages.page_size })
            }
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

/// Returns an argument that may be copied out, if it has the dtype of the cache.
fn rows<'a>(arguments: &'a Bound<'_>, name: &str, cache: &TensorBuf) -> Result<&'a TensorBuf, ExecError> {
    let tensor = arguments.tensor(name)?;
    if tensor.dtype() != cache.dtype() {
        return Err(operand::wrong_dtype(name, "a tensor of the dtype of `paged_kv_cache`", tensor.dtype()));
    }
    operand::readable(name, tensor)
}
