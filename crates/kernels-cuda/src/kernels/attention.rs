//! `attention.cu`: a block for each tile of a sequence's rows and each kv head.

use std::iter;
use std::rc::Rc;

use callbox_core::{DType, ExecError};
use callbox_functions::{
    Attended, Attention, Factors, Frequencies, Place, PositionEncoding, Stretch, Vectors,
};

use super::batch;
use super::launch::Launch;
use super::memory::{Memory, Run, empty};
use super::modules::Module;
use super::rows::Laid;
use super::types::{
    MOST_BLOCKS, MOST_BLOCKS_X, Suffixes, blocks, count, expect_dtype, floats, no_kernel, suffix, type_code,
};

const THREADS: u32 = 128;
/// Bytes of shared memory that any launch may ask for.
const SHARED_BYTES: usize = 48 << 10;
/// A bound that no sequence reaches: a kernel adds to it without leaving an i64.
const FAR: i64 = 1 << 40;

/// The dtypes of keys and values.
const CACHES: Suffixes = &[
    (DType::Float16, "f16"),
    (DType::BFloat16, "bf16"),
    (DType::Float32, "f32"),
    (DType::Float8E4M3Fn, "e4m3"),
    (DType::Float8E5M2, "e5m2"),
];

/// `Attention` in `attention.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    queries: u64,
    keys: u64,
    values: u64,
    out: u64,
    lse: u64,
    qo_indptr: u64,
    kv_indptr: u64,
    kv_indices: u64,
    last_page_len: u64,
    mask: u64,
    mask_starts: u64,
    sinks: u64,
    q_scales: u64,
    k_scales: u64,
    v_scales: u64,
    q_row_stride: i64,
    q_head_stride: i64,
    /// Of page, slot and head.
    k_strides: [i64; 3],
    v_strides: [i64; 3],
    window_left: i64,
    window_right: i64,
    page_size: u32,
    qo_heads: u32,
    kv_heads: u32,
    head_dim: u32,
    head_dim_vo: u32,
    query_type: u32,
    out_type: u32,
    encoding: u32,
    rope_theta: f32,
    rope_scale: f32,
    sm_scale: f32,
    v_scale: f32,
    soft_cap: f32,
    tile_rows: u32,
    tile_keys: u32,
    row_tiles: u32,
}

const _: () = assert!(size_of::<Parameters>() == 264);

/// Solves [`Attention`].
pub(super) fn attend(run: &Run<'_>, problem: &Attention<'_>) -> Result<Attended, ExecError> {
    let operands = problem.operands;
    let shape = operands.output_shape();
    let (queries, keys, values) = (operands.queries(), operands.keys(), operands.values());
    let kernel = suffix(keys.name(), keys.tensor().dtype(), CACHES)?;
    expect_dtype(values.name(), values.tensor().dtype(), keys.tensor().dtype())?;
    type_code(queries.name(), queries.tensor().dtype())?;
    let out_type = type_code("result", problem.dtype)?;
    if shape.contains(&0) {
        return Ok(Attended {
            output: empty(problem.dtype, &shape),
            lse: empty(DType::Float32, &shape[..2]),
        });
    }
    let tile = Tile::fitting(queries.width(), values.width()).ok_or_else(|| {
        let reason = format!("heads of {} elements are more than it can hold", queries.width());
        no_kernel(queries.name(), reason)
    })?;
    let uploaded = Uploaded::new(run, problem)?;
    let kernel = if uploaded.are_copied { "f32" } else { kernel };
    let out = run.zeros_of(problem.dtype, &shape)?;
    // A row of no sequence sees nothing, and no block writes it.
    let lse = run.upload_numbers(&vec![f32::NEG_INFINITY; shape[0] * shape[1]])?;
    for batch in batch::batches(&problem.sequences) {
        let batch = batch?;
        let rows = batch.most_rows * operands.group();
        let row_tiles = rows.div_ceil(tile.rows).max(1);
        let launch = Launch {
            module: Module::Attention,
            name: format!("attention_{kernel}"),
            grid: [
                blocks(queries.name(), batch.len().saturating_mul(row_tiles), MOST_BLOCKS_X)?,
                blocks(keys.name(), keys.heads(), MOST_BLOCKS)?,
                1,
            ],
            block: [THREADS, 1, 1],
            shared_bytes: count(queries.name(), tile.shared_bytes)?,
        };
        let of_batch = batch.upload(run)?;
        let parameters = Parameters {
            out: out.address(),
            lse: lse.address(),
            out_type,
            qo_indptr: of_batch.qo_indptr.address(),
            kv_indptr: of_batch.kv_indptr.address(),
            kv_indices: of_batch.indices.address(),
            last_page_len: of_batch.last_page_len.address(),
            mask: of_batch.mask.as_ref().map_or(0, |[bits, _]| bits.address()),
            mask_starts: of_batch.mask.as_ref().map_or(0, |[_, starts]| starts.address()),
            page_size: batch.page_size,
            tile_rows: count(queries.name(), tile.rows)?,
            tile_keys: count(queries.name(), tile.keys)?,
            row_tiles: count(queries.name(), row_tiles)?,
            ..uploaded.parameters(problem)?
        };
        run.launch(&launch, &[&parameters])?;
    }
    Ok(Attended {
        output: run.download_tensor(&out, problem.dtype, &shape)?,
        lse: run.download_tensor(&lse, DType::Float32, &shape[..2])?,
    })
}

/// How much of a sequence a block holds at a time.
#[derive(Clone, Copy, Debug)]
struct Tile {
    rows: usize,
    keys: usize,
    shared_bytes: usize,
}

impl Tile {
    /// Returns the largest tile that fits the memory of a block; `None` where not even one row and one key do.
    fn fitting(head_dim: usize, head_dim_vo: usize) -> Option<Tile> {
        let smaller = |&(rows, keys): &(usize, usize)| match rows >= keys {
            _ if (rows, keys) == (1, 1) => None,
            true => Some((rows / 2, keys)),
            false => Some((rows, keys / 2)),
        };
        let mut tiles = iter::successors(Some((16, 32)), smaller).map(|(rows, keys)| {
            let floats = rows * (head_dim + head_dim_vo + keys + 3)
                + keys * ((head_dim | 1) + head_dim_vo)
                + head_dim / 2;
            Tile { rows, keys, shared_bytes: 4 * floats }
        });
        tiles.find(|tile| tile.shared_bytes <= SHARED_BYTES)
    }
}

/// Queries, keys, values and factors on the device.
struct Uploaded {
    queries: Placed,
    keys: Placed,
    values: Placed,
    sinks: Option<Memory>,
    q_scales: Option<Memory>,
    k_scales: Option<Memory>,
    v_scales: Option<Memory>,
    /// Keys and values are copies in f32.
    are_copied: bool,
}

impl Uploaded {
    fn new(run: &Run<'_>, problem: &Attention<'_>) -> Result<Uploaded, ExecError> {
        let (keys, values) = (problem.operands.keys(), problem.operands.values());
        let are_copied = !(are_neighbours(keys) && are_neighbours(values));
        let (keys, values) = match are_copied {
            true => (Placed::copied(run, keys)?, Placed::copied(run, values)?),
            false => Placed::pair(run, keys, values)?,
        };
        let queries = match problem.operands.queries() {
            queries if are_neighbours(queries) => Placed::in_place(run, queries)?,
            queries => Placed::copied(run, queries)?,
        };
        let upload = |name: &str, factors: Factors<'_>| match factors {
            Factors::Same(_) => Ok::<_, ExecError>(None),
            Factors::Each(tensor) => Ok(Some(run.upload_numbers(&floats(name, tensor)?)?)),
        };
        let sinks = problem.sinks.map_or(Ok(None), |sinks| upload("sinks", Factors::Each(sinks)))?;
        let q_scales = upload("q", problem.head_scales.q)?;
        let k_scales = upload("k", problem.head_scales.k)?;
        let v_scales = upload("v", problem.head_scales.v)?;
        Ok(Uploaded { queries, keys, values, sinks, q_scales, k_scales, v_scales, are_copied })
    }

    /// Says what is the same for all launches, and leaves the rest at zero.
    fn parameters(&self, problem: &Attention<'_>) -> Result<Parameters, ExecError> {
        let operands = problem.operands;
        let (queries, keys, values) = (operands.queries(), operands.keys(), operands.values());
        let same = |factors: Factors<'_>| match factors {
            Factors::Same(factor) => factor,
            Factors::Each(_) => 1.0,
        };
        let (encoding, rope_theta, rope_scale) = encoding(problem.encoding)?;
        let scales = problem.head_scales;
        let [_, q_row_stride, q_head_stride] = self.queries.strides;
        let address = |memory: &Option<Memory>| memory.as_ref().map_or(0, Memory::address);
        Ok(Parameters {
            queries: self.queries.address,
            keys: self.keys.address,
            values: self.values.address,
            out: 0,
            lse: 0,
            qo_indptr: 0,
            kv_indptr: 0,
            kv_indices: 0,
            last_page_len: 0,
            mask: 0,
            mask_starts: 0,
            sinks: address(&self.sinks),
            q_scales: address(&self.q_scales),
            k_scales: address(&self.k_scales),
            v_scales: address(&self.v_scales),
            q_row_stride,
            q_head_stride,
            k_strides: self.keys.strides,
            v_strides: self.values.strides,
            window_left: problem.bounds.left.map_or(-1, |left| left.min(FAR)),
            window_right: problem.bounds.right.map_or(-1, |right| right.min(FAR)),
            page_size: 0,
            qo_heads: count(queries.name(), queries.heads())?,
            kv_heads: count(keys.name(), keys.heads())?,
            head_dim: count(queries.name(), queries.width())?,
            head_dim_vo: count(values.name(), values.width())?,
            query_type: type_code(queries.name(), self.queries.dtype)?,
            out_type: 0,
            encoding,
            rope_theta,
            rope_scale,
            sm_scale: problem.sm_scale * same(scales.q) * same(scales.k),
            v_scale: problem.v_scale * same(scales.v),
            soft_cap: problem.soft_cap.unwrap_or(0.0),
            tile_rows: 0,
            tile_keys: 0,
            row_tiles: 0,
        })
    }
}

/// Returns the number of an encoding in `attention.cuh`, its base and what divides its frequencies.
fn encoding(encoding: PositionEncoding) -> Result<(u32, f32, f32), ExecError> {
    match encoding {
        PositionEncoding::None => Ok((0, 1.0, 1.0)),
        PositionEncoding::RopeLlama(Frequencies { theta, stretch: Stretch::Divided { scale } }) => {
            Ok((1, theta, scale))
        }
        PositionEncoding::RopeLlama(_) => {
            Err(no_kernel("pos_encoding_mode", "frequencies stretched as Llama 3.1 does it"))
        }
        PositionEncoding::Alibi => Ok((2, 1.0, 1.0)),
    }
}

/// Vectors on the device.
struct Placed {
    /// Keys and values may lie in one tensor.
    memory: Rc<Memory>,
    /// Of the first vector's first element.
    address: u64,
    dtype: DType,
    /// Of page, slot and head, in elements.
    strides: [i64; 3],
}

/// Tells whether a kernel can read vectors where they are.
fn are_neighbours(vectors: &Vectors) -> bool {
    let [.., stride] = vectors.strides();
    (stride == 1 || vectors.width() == 1) && !vectors.tensor().flags().neg
}

impl Placed {
    /// Uploads what the tensor of some vectors reaches of its storage.
    fn in_place(run: &Run<'_>, vectors: &Vectors) -> Result<Placed, ExecError> {
        let memory = run.upload(&Laid::of(vectors.tensor()).bytes)?;
        Ok(Placed::over(Rc::new(memory), vectors))
    }

    /// Uploads keys and values, once where they are one tensor.
    fn pair(run: &Run<'_>, keys: &Vectors, values: &Vectors) -> Result<(Placed, Placed), ExecError> {
        let place = |vectors: &Vectors| {
            let tensor = vectors.tensor();
            (tensor.storage_id(), tensor.storage().len(), tensor.layout().clone())
        };
        let first = Placed::in_place(run, keys)?;
        let second = match place(keys) == place(values) {
            true => Placed::over(first.memory.clone(), values),
            false => Placed::in_place(run, values)?,
        };
        Ok((first, second))
    }

    fn over(memory: Rc<Memory>, vectors: &Vectors) -> Placed {
        let (tensor, [page, slot, head, _]) = (vectors.tensor(), vectors.strides());
        // The first byte on the device is that of the tensor's first element.
        let behind = vectors.start().saturating_sub(tensor.layout().offset()) * tensor.dtype().item_size();
        let address = memory.address().wrapping_add(behind as u64);
        let strides = [page, slot, head].map(|stride| stride as i64);
        Placed { memory, address, dtype: tensor.dtype(), strides }
    }

    /// Uploads a copy in f32, which holds the elements of every dtype here exactly.
    fn copied(run: &Run<'_>, vectors: &Vectors) -> Result<Placed, ExecError> {
        let (slots, heads, width) = (vectors.slots(), vectors.heads(), vectors.width());
        let mut elements = vec![0f32; vectors.pages() * slots * heads * width];
        for (number, vector) in elements.chunks_exact_mut(width).enumerate() {
            let place = Place { page: number / heads / slots, slot: number / heads % slots };
            let read = vectors.tensor().read_run_f32(vectors.run(place, number % heads), vector);
            read.map_err(|source| ExecError::Elements { argument: vectors.name().to_owned(), source })?;
        }
        let memory = Rc::new(run.upload_numbers(&elements)?);
        let strides = [slots * heads * width, heads * width, width].map(|stride| stride as i64);
        Ok(Placed { address: memory.address(), memory, dtype: DType::Float32, strides })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_fit_the_memory_of_a_block_whatever_the_heads_are() {
        for (head_dim, head_dim_vo, expected) in [
            (64, 64, Some((16, 32))),
            (128, 128, Some((16, 16))),
            (192, 128, Some((16, 16))),
            (576, 512, Some((4, 4))),
            (4000, 1, Some((1, 1))),
            (6000, 6000, None),
        ] {
            let tile = Tile::fitting(head_dim, head_dim_vo);
            assert!(tile.is_none_or(|tile| tile.shared_bytes <= SHARED_BYTES));
            assert_eq!(tile.map(|tile| (tile.rows, tile.keys)), expected, "{head_dim} {head_dim_vo}");
        }
    }
}
