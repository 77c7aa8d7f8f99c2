//! Four-bit floats with a scale for each block: quantising to them, and multiplying them.
//!
//! An e2m1 code has a sign in bit 3 and one of eight magnitudes in the others (OCP Microscaling Formats
//! Specification 1.0). A byte holds two neighbours of the last dimension, the even one in the low nibble. The
//! scale of a block of neighbours is a byte too: an e4m3 number (NVFP4, blocks of 16) or a power of two in
//! e8m0 (MXFP4, blocks of 32). [`scale_layout`] says in which order the scales lie.

mod product;
mod quantize;
mod scale_layout;

use callbox_core::{Contract, ResultRule};

use crate::gemm::PRODUCT_TO_OUT;
use crate::kernels::Kernel;
use crate::table::Function;

pub use self::product::{BlockScales, Fp4Product, ScaleFormat};
pub use self::quantize::{Fp4Codes, Fp4Quantize, ScaleRule};
pub use self::scale_layout::{ScaleGrid, ScaleLayout};

pub(crate) const ROWS: &[Function] = &[
    Function::new(
        Kernel::MultiplyFp4,
        PRODUCT_TO_OUT,
        "mm_fp4",
        "a, b, a_descale, b_descale, alpha=None, out_dtype='bfloat16', out=None, block_size=16, \
         use_8x4_sf_layout=False, backend='auto', use_nvfp4=True, enable_pdl=True",
        product::mm_fp4,
    ),
    Function::new(
        Kernel::QuantizeFp4,
        CODES_AND_SCALES,
        "nvfp4_quantize",
        "a, a_global_sf, sfLayout=0, do_shuffle=False, sf_vec_size=16, enable_pdl=None, backend='cuda', \
         per_token_activation=False, expanded_idx_to_permuted_idx=None, out_scale=None, nvfp4_4over6=None",
        quantize::nvfp4_quantize,
    ),
    Function::new(
        Kernel::QuantizeFp4,
        CODES_AND_SCALES,
        "fp4_quantize",
        "input, global_scale=None, sf_vec_size=16, sf_use_ue8m0=False, is_sf_swizzled_layout=True, \
         is_sf_8x4_layout=False, is_global_scale_inversed=False, enable_pdl=None, backend='cuda', \
         nvfp4_4over6=None",
        quantize::fp4_quantize,
    ),
];

const CODES_AND_SCALES: Contract =
    Contract { writes: &[], results: &[ResultRule::PackedFp4, ResultRule::Values] };
