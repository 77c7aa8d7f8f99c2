//! A case as a launch of the kernel.

use callbox_core::{DType, TensorBuf};
use callbox_cuda_tests::{Argument, Launch, Memory};

use super::case::{Case, Encoding, Function, MaskKind};
use crate::trial::{download, ints, launch, type_code, upload};

/// Device memory of a launch; None where there is nothing of the kind.
struct Memories {
    queries: Memory,
    keys: Memory,
    values: Memory,
    out: Memory,
    lse: Memory,
    qo_indptr: Memory,
    kv_indptr: Memory,
    indices: Option<Memory>,
    last_page_len: Option<Memory>,
    mask: Option<[Memory; 2]>,
    sinks: Option<Memory>,
    head_scales: Option<[Memory; 3]>,
}

impl Memories {
    fn new(case: &Case) -> Memories {
        let [keys, values] = case.keys_and_values();
        let pages = case.pages();
        let kv_indptr = match case.is_paged() {
            true => Case::indptr(pages.iter().map(Vec::len)),
            false => Case::indptr(case.kv_len().iter().copied()),
        };
        let heads = case.rows() * case.qo_heads();
        Memories {
            queries: upload(&case.queries()),
            keys: upload(&keys),
            values: upload(&values),
            out: Memory::unwritten(heads * case.width_vo * case.out_dtype().item_size()),
            lse: Memory::unwritten(heads * 4),
            qo_indptr: upload(&Case::indptr(case.q_len().iter().copied())),
            kv_indptr: upload(&kv_indptr),
            indices: case.is_paged().then(|| upload(&ints(&pages.concat()))),
            last_page_len: case.is_paged().then(|| upload(&case.last_page_len())),
            mask: matches!(case.mask, MaskKind::Custom | MaskKind::Packed).then(|| mask(case)),
            sinks: case.sinks.then(|| upload(&case.per_head(case.qo_heads(), 2))),
            head_scales: case.head_scales.then(|| {
                let heads = [case.qo_heads(), case.kv_heads, case.kv_heads];
                [3, 4, 5].map(|salt| upload(&case.per_head(heads[salt - 3], salt as u64)))
            }),
        }
    }
}

/// The bits, and the byte at which those of each sequence begin.
fn mask(case: &Case) -> [Memory; 2] {
    let packed = case.packed_mask();
    let mut start = 0i64;
    let starts: Vec<u8> = packed
        .iter()
        .flat_map(|bytes| {
            start += bytes.len() as i64;
            (start - bytes.len() as i64).to_le_bytes()
        })
        .collect();
    [Memory::new(&packed.concat()), Memory::new(&starts)]
}

/// Strides of page, slot and head of keys or values with heads of `width` elements.
fn strides(case: &Case, width: usize) -> [i64; 3] {
    let tokens: usize = case.kv_len().iter().sum();
    let slots = if case.is_paged() { case.page_size } else { tokens };
    let (page, head) = (slots * case.kv_heads * width, width);
    let strides = match case.layout {
        "HND" => [page, head, slots * head],
        _ => [page, case.kv_heads * head, head],
    };
    strides.map(|stride| stride as i64)
}

/// What the function's own arguments make of `sm_scale` and `v_scale`.
fn scales(case: &Case) -> [f32; 2] {
    let sm_scale = case.sm_scale.unwrap_or(1.0 / (case.width as f32).sqrt());
    let [q, k, v] = case.scales.unwrap_or([1.0; 3]);
    // Of this class the scales count for fp8 keys of other queries only.
    let is_fp8 = case.kv_dtype.item_size() == 1 && case.dtype.item_size() > 1;
    match case.function {
        Function::SinglePrefill => [sm_scale * k, v],
        Function::RaggedPrefill if is_fp8 => [sm_scale * k, v],
        Function::RaggedPrefill => [sm_scale, 1.0],
        Function::SingleDecode | Function::BatchDecode | Function::BatchPrefill => [sm_scale * (q * k), v],
    }
}

/// The structure `Attention`.
fn parameters<'a>(case: &Case, memories: &'a Memories, row_tiles: usize) -> Argument<'a> {
    let causal = case.mask == MaskKind::Causal || case.function == Function::BatchDecode;
    let (mask, mask_starts) = match &memories.mask {
        Some([bits, starts]) => (Some(bits), Some(starts)),
        None => (None, None),
    };
    let head_scale = |i: usize| memories.head_scales.as_ref().map(|scales| &scales[i]);
    let (encoding, theta, rope_scale) = match case.encoding {
        Encoding::None => (0, 1.0, 1.0),
        Encoding::Rope { theta, scale } => (1, theta, scale),
        Encoding::Alibi => (2, 1.0, 1.0),
    };
    let [sm_scale, v_scale] = scales(case);
    let argument = Argument::structure()
        .memory(&memories.queries)
        .memory(&memories.keys)
        .memory(&memories.values)
        .memory(&memories.out)
        .memory(&memories.lse)
        .memory(&memories.qo_indptr)
        .memory(&memories.kv_indptr)
        .optional(memories.indices.as_ref())
        .optional(memories.last_page_len.as_ref())
        .optional(mask)
        .optional(mask_starts)
        .optional(memories.sinks.as_ref())
        .optional(head_scale(0))
        .optional(head_scale(1))
        .optional(head_scale(2))
        .i64((case.qo_heads() * case.width) as i64)
        .i64(case.width as i64);
    let all_strides = [strides(case, case.width), strides(case, case.width_vo)];
    let argument = all_strides.as_flattened().iter().fold(argument, |argument, &stride| argument.i64(stride));
    argument
        .i64(case.window_left)
        .i64(if causal { 0 } else { -1 })
        .u32(if case.is_paged() { case.page_size as u32 } else { 0 })
        .u32(case.qo_heads() as u32)
        .u32(case.kv_heads as u32)
        .u32(case.width as u32)
        .u32(case.width_vo as u32)
        .u32(type_code(case.dtype))
        .u32(type_code(case.out_dtype()))
        .u32(encoding)
        .f32(theta)
        .f32(rope_scale)
        .f32(sm_scale)
        .f32(v_scale)
        .f32(case.soft_cap)
        .u32(case.tile[0] as u32)
        .u32(case.tile[1] as u32)
        .u32(row_tiles as u32)
}

/// Returns the output `[rows, qo_heads, width_vo]` and the log-sum-exp `[rows, qo_heads]`.
pub(super) fn run(case: &Case) -> [TensorBuf; 2] {
    let memories = Memories::new(case);
    let [rows, keys] = case.tile;
    let longest = case.q_len().iter().max().unwrap_or(&0) * case.group;
    let row_tiles = longest.div_ceil(rows).max(1);
    let floats = rows * (case.width + case.width_vo + keys + 3)
        + keys * ((case.width | 1) + case.width_vo)
        + case.width / 2;
    let suffix = match case.kv_dtype {
        DType::Float16 => "f16",
        DType::BFloat16 => "bf16",
        DType::Float32 => "f32",
        DType::Float8E4M3Fn => "e4m3",
        _ => "e5m2",
    };
    let launching = Launch {
        grid: [(case.batch * row_tiles) as u32, case.kv_heads as u32, 1],
        block: [64, 1, 1],
        shared_bytes: (4 * floats) as u32,
    };
    launch(&format!("attention_{suffix}"), launching, &[parameters(case, &memories, row_tiles)]);
    let heads = [case.rows(), case.qo_heads()];
    [
        download(&memories.out, case.out_dtype(), &[heads[0], heads[1], case.width_vo]),
        download(&memories.lse, DType::Float32, &heads),
    ]
}
