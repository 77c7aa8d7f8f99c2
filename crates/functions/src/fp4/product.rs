//! Multiplying matrices of e2m1 codes.

use callbox_core::{Bound, DType, ExecError, OwnedValue, TensorBuf, Value};

use super::scale_layout::{ScaleGrid, ScaleLayout};
use crate::factors::Factors;
use crate::gemm::{ProductSizes, float_dtype};
use crate::kernels::Kernels;
use crate::operand;
use crate::output::Target;

/// `sum_k (a * a_scale * b * b_scale) * alpha`, with e2m1 codes `a` and `b`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fp4Product<'a> {
    /// Bytes `[m, k / 2]` of two codes each, the even one in the low nibble.
    pub a: &'a TensorBuf,
    /// Bytes `[n, k / 2]`, likewise.
    pub b: &'a TensorBuf,
    /// Scales of `[m, k / block]` blocks.
    pub a_scales: BlockScales<'a>,
    /// Scales of `[n, k / block]` blocks.
    pub b_scales: BlockScales<'a>,
    /// The sizes, with a batch of 1.
    pub sizes: ProductSizes,
    /// Neighbours along k that share a scale: 16 or 32; `k` is a multiple of it.
    pub block: usize,
    /// Multiplies the sums of each of the `m` rows, in f32.
    pub alpha: Factors<'a>,
    /// What the result `[m, n]` is rounded to.
    pub dtype: DType,
}

/// The scales of a factor's blocks.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct BlockScales<'a> {
    /// One byte for each scale, padding included, of the shape that the grid has.
    pub bytes: &'a TensorBuf,
    /// Where the scale of a row and a block lies.
    pub grid: ScaleGrid,
    /// What a byte stands for.
    pub format: ScaleFormat,
}

/// What the byte of a scale stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleFormat {
    /// An e4m3 number, which has a sign too.
    E4m3,
    /// A power of two, `2^(byte - 127)`.
    E8m0,
}

/// `out = (sum_k a * a_scale * b * b_scale) * alpha`.
///
/// `a` `[m, k / 2]` and `b` `[k / 2, n]` are bytes of two codes; `b` is the transpose of what the quantising
/// functions return. `a_descale` and `b_descale` are the scale bytes of blocks of `block_size` neighbours along
/// k, in the order of 128x4 tiles: as many as `[m, k / block_size]`, padded to whole tiles, and the transpose of
/// `[n, k / block_size]`, padded. `use_8x4_sf_layout` says that `a_descale` lies in 8x4 tiles. Scales are e4m3
/// numbers, or powers of two (e8m0) where `use_nvfp4` is false.
///
/// `alpha` is None (1), a number, or `[m]`. The result is `[m, n]` in `out_dtype`.
pub(super) fn mm_fp4(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    if arguments.text("backend")? == "trtllm" {
        return Err(ExecError::Unsupported {
            argument: "backend".to_owned(),
            reason: "`b` is shuffled for the trtllm kernel".to_owned(),
        });
    }
    let (sizes, block) = sizes(arguments)?;
    let format = match arguments.flag("use_nvfp4")? {
        true => ScaleFormat::E4m3,
        false => ScaleFormat::E8m0,
    };
    let a_layout = match arguments.flag("use_8x4_sf_layout")? {
        true => ScaleLayout::Tiles8x4,
        false => ScaleLayout::Tiles128x4,
    };
    let blocks = sizes.k / block;
    let a = operand::bytes("a", arguments.tensor("a")?)?;
    let a_scales = Scales::read(arguments, "a_descale", Side::Left, a_layout, [sizes.m, blocks])?;
    let b = operand::transposed(operand::bytes("b", arguments.tensor("b")?)?);
    let b_layout = ScaleLayout::Tiles128x4;
    let b_scales = Scales::read(arguments, "b_descale", Side::Right, b_layout, [sizes.n, blocks])?;
    let alpha = match arguments.value("alpha") {
        Value::None => Factors::Same(1.0),
        _ => operand::per_row(arguments, "alpha", sizes.m)?,
    };
    let dtype = float_dtype(arguments, "out_dtype")?;
    let target = Target::read(arguments, "out", dtype, &[sizes.m, sizes.n])?;
    let product = kernels.multiply_fp4(&Fp4Product {
        a,
        b: &b,
        a_scales: a_scales.as_block_scales(format),
        b_scales: b_scales.as_block_scales(format),
        sizes,
        block,
        alpha,
        dtype: target.dtype(),
    })?;
    target.finish(arguments, product)
}

/// Reads the sizes of the product and of a block.
fn sizes(arguments: &Bound<'_>) -> Result<(ProductSizes, usize), ExecError> {
    let [m, k_bytes] = operand::sizes(arguments, "a", "[m, k / 2]")?;
    let [b_k_bytes, n] = operand::sizes(arguments, "b", "[k / 2, n]")?;
    if b_k_bytes != k_bytes {
        let expected = format!("[{k_bytes}, n], k / 2 as in `a`");
        return Err(operand::wrong_shape("b", &[b_k_bytes, n], expected));
    }
    let block = arguments.size("block_size")?;
    if block != 16 && block != 32 {
        return Err(operand::wrong_value("block_size", block, "expected 16 or 32"));
    }
    let k = k_bytes
        .checked_mul(2)
        .filter(|k| k.is_multiple_of(block))
        .ok_or_else(|| operand::wrong_shape("a", &[m, k_bytes], format!("k in whole blocks of {block}")))?;
    Ok((ProductSizes { batch: 1, m, k, n }.checked(arguments, "a", "b")?, block))
}

/// The scales of one argument, by rows of the factor.
struct Scales {
    bytes: TensorBuf,
    grid: ScaleGrid,
}

/// Which factor: the second one comes transposed, and so do its scales.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Scales {
    fn read(
        arguments: &Bound<'_>,
        name: &str,
        side: Side,
        layout: ScaleLayout,
        [rows, blocks]: [usize; 2],
    ) -> Result<Scales, ExecError> {
        let [_, _] = operand::sizes(arguments, name, "two dimensions")?;
        let given = arguments.tensor(name)?;
        let bytes = match side {
            Side::Left => given.clone(),
            Side::Right => operand::transposed(given),
        };
        let grid = ScaleGrid::new(layout, rows, blocks).ok_or_else(|| {
            operand::wrong_shape(name, given.shape(), format!("scales for {rows} rows of {blocks} blocks"))
        })?;
        let mut padded = grid.shape();
        if bytes.shape() != padded {
            if side == Side::Right {
                padded.reverse();
            }
            let expected =
                format!("{padded:?}: one scale for each of {blocks} blocks in {rows} rows, in whole tiles");
            return Err(operand::wrong_shape(name, given.shape(), expected));
        }
        operand::bytes(name, &bytes)?;
        Ok(Scales { bytes, grid })
    }

    fn as_block_scales(&self, format: ScaleFormat) -> BlockScales<'_> {
        BlockScales { bytes: &self.bytes, grid: self.grid, format }
    }
}
