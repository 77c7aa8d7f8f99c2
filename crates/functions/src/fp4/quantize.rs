//! Quantising to e2m1 codes.

use callbox_core::{Bound, DType, ExecError, Layout, OwnedValue, TensorBuf, Value};

use super::scale_layout::{ScaleGrid, ScaleLayout};
use crate::kernels::Kernels;
use crate::{operand, output};

/// Codes and scales of blocks of neighbours.
///
/// With `amax` the largest magnitude of a block, [`ScaleRule`] has the formulas. A code is the nearest e2m1
/// number, with ties to the even code and the sign of `x`.
#[derive(Debug)]
#[non_exhaustive]
pub struct Fp4Quantize<'a> {
    /// Floats `[.., width]`.
    pub input: &'a TensorBuf,
    /// Elements of a row: a multiple of `block`.
    pub width: usize,
    /// Neighbours that share a scale: 16 or 32.
    pub block: usize,
    /// How scales are chosen.
    pub rule: ScaleRule,
    /// Where the scale of a row and a block lies; what lies between is zero.
    pub grid: ScaleGrid,
}

/// How the scale of a block is chosen, and what its elements are multiplied by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ScaleRule {
    /// `scale = e4m3(amax * global / 6)`, `code = e2m1(x * (global * (1 / scale)))`, in this order of f32
    /// roundings, since 16-bit inputs hit exact ties; code 0 with the sign of `x` where the scale is 0.
    E4m3 {
        /// The global scale.
        global: f32,
    },
    /// `scale = 2^ceil(log2(amax / 6))`, `code = e2m1(x / scale)`.
    E8m0,
}

/// The answer to an [`Fp4Quantize`].
#[derive(Clone, Debug)]
pub struct Fp4Codes {
    /// Two codes a byte, the even one in the low nibble: uint8 `[.., width / 2]`.
    pub codes: TensorBuf,
    /// One byte a block: uint8 of the grid's shape.
    pub scales: TensorBuf,
}

/// Quantises blocks of 16 neighbours (NVFP4); returns `(codes, scales)`.
///
/// `a` `[.., m, k]` in f16, bf16 or e4m3; `a_global_sf` a number. `sfLayout` is 0 (128x4 tiles), 1 (8x4) or 2
/// (linear). Codes and scales as [`fp4_quantize`] has them.
pub(super) fn nvfp4_quantize(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    arguments.refuse("do_shuffle", "rows shuffled for a kernel")?;
    arguments.refuse("per_token_activation", "a scale for each token")?;
    arguments.refuse("expanded_idx_to_permuted_idx", "rows in another order")?;
    arguments.refuse("out_scale", "scales written to an argument")?;
    arguments.refuse("nvfp4_4over6", "blocks scaled to 4 in place of 6")?;
    let layout = match arguments.int("sfLayout")? {
        0 => ScaleLayout::Tiles128x4,
        1 => ScaleLayout::Tiles8x4,
        2 => ScaleLayout::Linear,
        other => {
            let reason = "expected 0 (128x4), 1 (8x4) or 2 (linear)";
            return Err(operand::wrong_value("sfLayout", other, reason));
        }
    };
    let recipe = Recipe {
        block: block_size(arguments)?,
        rule: ScaleRule::E4m3 { global: arguments.float("a_global_sf")? },
        layout,
    };
    quantize(kernels, arguments, "a", &recipe)
}

/// Quantises blocks of `sf_vec_size` neighbours of the last dimension; returns `(codes, scales)`.
///
/// `input` `[.., m, k]` in f16, bf16 or e4m3. The codes are u8 `[.., m, k / 2]`, two in a byte. The scales are
/// u8, one for each block: `[rows, k / sf_vec_size]`, leading dimensions flattened into rows, padded to whole
/// tiles unless `is_sf_swizzled_layout` is false. Scales are e4m3 numbers over the global scale (1 if None; its
/// inverse with `is_global_scale_inversed`), or with `sf_use_ue8m0` powers of two, for which the global scale is
/// not used: [`ScaleRule`].
///
/// An input whose dimension before the last is the contiguous one is quantised along that, and both results
/// come back transposed.
pub(super) fn fp4_quantize(
    kernels: &mut dyn Kernels,
    arguments: &mut Bound<'_>,
) -> Result<OwnedValue, ExecError> {
    arguments.refuse("nvfp4_4over6", "blocks scaled to 4 in place of 6")?;
    let global = arguments.optional_float("global_scale")?.unwrap_or(1.0);
    let global = match arguments.flag("is_global_scale_inversed")? {
        true => 1.0 / global,
        false => global,
    };
    let tiled = arguments.flag("is_sf_swizzled_layout")?;
    let recipe = Recipe {
        block: block_size(arguments)?,
        rule: match arguments.flag("sf_use_ue8m0")? {
            true => ScaleRule::E8m0,
            false => ScaleRule::E4m3 { global },
        },
        layout: match (tiled, arguments.flag("is_sf_8x4_layout")?) {
            (true, false) => ScaleLayout::Tiles128x4,
            (true, true) => ScaleLayout::Tiles8x4,
            (false, _) => ScaleLayout::Linear,
        },
    };
    quantize(kernels, arguments, "input", &recipe)
}

fn block_size(arguments: &Bound<'_>) -> Result<usize, ExecError> {
    match arguments.size("sf_vec_size")? {
        size @ (16 | 32) => Ok(size),
        other => Err(operand::wrong_value("sf_vec_size", other, "expected 16 or 32")),
    }
}

/// What to quantise to.
struct Recipe {
    /// Elements that share a scale.
    block: usize,
    rule: ScaleRule,
    layout: ScaleLayout,
}

fn quantize(
    kernels: &mut dyn Kernels,
    arguments: &Bound<'_>,
    name: &str,
    recipe: &Recipe,
) -> Result<OwnedValue, ExecError> {
    let given = operand::floats(arguments, name)?;
    let (input, column_major) = match given.layout().strides() {
        [.., 1, _] => (operand::transposed(given), true),
        [.., _, _] => (given.clone(), false),
        _ => return Err(operand::wrong_shape(name, given.shape(), "[.., m, k]".to_owned())),
    };
    let width = input.shape().last().copied().unwrap_or_default();
    if width == 0 || !width.is_multiple_of(recipe.block) {
        let expected = format!("blocks of {} along the dimension that is quantised", recipe.block);
        return Err(operand::wrong_shape(name, given.shape(), expected));
    }
    operand::readable(name, &input)?;
    let grid = ScaleGrid::new(recipe.layout, input.numel() / width, width / recipe.block)
        .ok_or_else(|| operand::wrong_shape(name, given.shape(), "fewer rows".to_owned()))?;
    let mut codes_shape = input.shape().to_vec();
    codes_shape.splice(codes_shape.len() - 1.., [width / 2]);
    for shape in [&codes_shape[..], &grid.shape()] {
        Layout::contiguous(shape)
            .map_err(|_| operand::wrong_shape(name, given.shape(), "fewer elements".to_owned()))?;
    }

    let problem = Fp4Quantize { input: &input, width, block: recipe.block, rule: recipe.rule, grid };
    let Fp4Codes { codes, scales } = kernels.quantize_fp4(&problem)?;
    let results = [(codes, &codes_shape[..]), (scales, &grid.shape())].map(|(result, shape)| {
        let result = output::checked(result, DType::UInt8, shape)?;
        Ok(Value::Tensor(match column_major {
            true => operand::transposed(&result),
            false => result,
        }))
    });
    let [codes, scales] = results;
    Ok(Value::tuple(vec![codes?, scales?]))
}
