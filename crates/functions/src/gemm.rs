//! Products of matrices in 16 and 8 bits.
//!
//! Factors are converted to f32, sums are taken in f32, and the result is rounded once, to nearest with ties to
//! even. Factors may lie row-major or column-major: a transposed view gives the same result as a copy.
//!
//! Formulas, shapes and defaults are those of FlashInfer's documentation, page `flashinfer.gemm`. What it leaves
//! open and a tolerance would show is said where it is decided: when a scale or a bias comes in.

use callbox_core::{Bound, Contract, DType, DTypeKind, ExecError, OwnedValue, ResultRule, TensorBuf};

use crate::kernels::{Kernel, Kernels};
use crate::operand;
use crate::output::Target;
use crate::table::Function;

/// `sum_k (a * a_scale) (b * b_scale) * alpha + bias`, for each matrix of a batch.
///
/// The scales are multiplied in before the sum, `alpha` and `bias` come behind it, all in f32.
#[derive(Debug)]
#[non_exhaustive]
pub struct Product<'a> {
    /// Floats `[batch, m, k]`; `[m, k]` where there is no batch.
    pub a: &'a TensorBuf,
    /// Floats, a matrix for each of `a`, as `order` has them.
    pub b: &'a TensorBuf,
    /// The sizes.
    pub sizes: ProductSizes,
    /// Which dimension of `b` comes first.
    pub order: FactorOrder,
    /// Multiplies the elements of `a`.
    pub a_scale: f32,
    /// Multiplies the elements of `b`.
    pub b_scale: f32,
    /// Multiplies the sums.
    pub alpha: f32,
    /// Floats `[n]`, added to each row.
    pub bias: Option<&'a TensorBuf>,
    /// What the result is rounded to: `[batch, m, n]`, or `[m, n]` where there is no batch.
    pub dtype: DType,
}

/// The sizes of a batch of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductSizes {
    /// Products; 1 where there is no batch.
    pub batch: usize,
    /// Rows of the first factor and of the result.
    pub m: usize,
    /// Terms of each sum.
    pub k: usize,
    /// Columns of the result.
    pub n: usize,
}

/// How the dimensions of the second factor follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorOrder {
    /// `[k, n]`.
    KByN,
    /// `[n, k]`.
    NByK,
}

pub(crate) const ROWS: &[Function] = &[
    Function::new(
        Kernel::Multiply,
        PRODUCT_TO_OUT,
        "bmm_fp8",
        "A, B, A_scale, B_scale, dtype, out=None, backend='cublas'",
        bmm_fp8,
    ),
    Function::new(
        Kernel::Multiply,
        PRODUCT_TO_OUT,
        "mm_fp8",
        "a, b, alpha=None, out_dtype='bfloat16', out=None, backend='trtllm_low_latency'",
        mm_fp8,
    ),
    Function::new(
        Kernel::Multiply,
        PRODUCT_TO_OUT,
        "mm_bf16",
        "a, b, bias=None, pdl=False, out=None, out_dtype='bfloat16', backend='cudnn'",
        mm_bf16,
    ),
    Function::new(
        Kernel::Multiply,
        PRODUCT_TO_OUT,
        "bmm_bf16",
        "A, B, out=None, out_dtype='bfloat16', backend='cudnn'",
        bmm_bf16,
    ),
];

/// The contract of every product.
pub(crate) const PRODUCT_TO_OUT: Contract = Contract { writes: &["out"], results: &[ResultRule::Products] };

/// `out[b] = (A[b] * A_scale) (B[b] * B_scale)`; the scales are multiplied in before the sum.
///
/// `A` `[batch, m, k]`, `B` `[batch, k, n]`, in e4m3 or e5m2 each; the scales are numbers. The result is
/// `[batch, m, n]` in `dtype`, any float; with `out`, in the dtype of `out`. Source: FlashInfer's documentation,
/// `flashinfer.gemm.bmm_fp8`.
fn bmm_fp8(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let sizes = ProductSizes::of_batches(arguments)?;
    let (a_scale, b_scale) = (arguments.float("A_scale")?, arguments.float("B_scale")?);
    let product = Product { a_scale, b_scale, ..Product::plain(arguments, ["A", "B"], sizes)? };
    let shape = [sizes.batch, sizes.m, sizes.n];
    let target = Target::read(arguments, "out", float_dtype(arguments, "dtype")?, &shape)?;
    let product = kernels.multiply(&Product { dtype: target.dtype(), ..product })?;
    target.finish(arguments, product)
}

/// `out = (a b^T) * alpha`.
///
/// `a` `[m, k]`, `b` `[n, k]` (not transposed), in e4m3 or e5m2 each; `alpha` is None (1) or a number, and the
/// sum in f32 is multiplied by it before the rounding. The result is `[m, n]` in `out_dtype`, any float; with
/// `out`, in the dtype of `out`. Source: FlashInfer's documentation, `flashinfer.gemm.mm_fp8`.
fn mm_fp8(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    if let shape @ [_, _, _] = arguments.tensor("b")?.shape() {
        let expected = "[n, k]: a weight shuffled for `trtllm_low_latency` cannot be read".to_owned();
        return Err(operand::wrong_shape("b", shape, expected));
    }
    let [m, k] = operand::sizes(arguments, "a", "[m, k]")?;
    let [n, b_k] = operand::sizes(arguments, "b", "[n, k]")?;
    if b_k != k {
        return Err(operand::wrong_shape("b", &[n, b_k], format!("[n, {k}], k as in `a`")));
    }
    let sizes = ProductSizes { batch: 1, m, k, n }.checked(arguments, "a", "b")?;
    let alpha = arguments.optional_float("alpha")?.unwrap_or(1.0);
    let order = FactorOrder::NByK;
    let product = Product { order, alpha, ..Product::plain(arguments, ["a", "b"], sizes)? };
    let target = Target::read(arguments, "out", float_dtype(arguments, "out_dtype")?, &[m, n])?;
    let product = kernels.multiply(&Product { dtype: target.dtype(), ..product })?;
    target.finish(arguments, product)
}

/// `out = a b + bias`, the bias added before the rounding.
///
/// `a` `[m, k]`, `b` `[k, n]`, `bias` None or `[n]`, of bf16 (any float is read). The result is `[m, n]` in
/// `out_dtype`, any float; with `out`, in the dtype of `out`. Source: FlashInfer's documentation,
/// `flashinfer.gemm.mm_bf16`.
fn mm_bf16(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let [m, k] = operand::sizes(arguments, "a", "[m, k]")?;
    let [b_k, n] = operand::sizes(arguments, "b", "[k, n]")?;
    if b_k != k {
        return Err(operand::wrong_shape("b", &[b_k, n], format!("[{k}, n], k as in `a`")));
    }
    let sizes = ProductSizes { batch: 1, m, k, n }.checked(arguments, "a", "b")?;
    let product = Product::plain(arguments, ["a", "b"], sizes)?;
    let bias = match arguments.optional_tensor("bias")? {
        Some(_) => Some(operand::values_of(arguments, "bias", &[n], "one number for each column of `b`")?),
        None => None,
    };
    let target = Target::read(arguments, "out", float_dtype(arguments, "out_dtype")?, &[m, n])?;
    let product = kernels.multiply(&Product { bias, dtype: target.dtype(), ..product })?;
    target.finish(arguments, product)
}

/// `out[b] = A[b] B[b]`.
///
/// `A` `[batch, m, k]`, `B` `[batch, k, n]`, of bf16 (any float is read). The result is `[batch, m, n]` in
/// `out_dtype`, any float; with `out`, in the dtype of `out`. Source: FlashInfer's documentation,
/// `flashinfer.gemm.bmm_bf16`.
fn bmm_bf16(kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError> {
    let sizes = ProductSizes::of_batches(arguments)?;
    let product = Product::plain(arguments, ["A", "B"], sizes)?;
    let shape = [sizes.batch, sizes.m, sizes.n];
    let target = Target::read(arguments, "out", float_dtype(arguments, "out_dtype")?, &shape)?;
    let product = kernels.multiply(&Product { dtype: target.dtype(), ..product })?;
    target.finish(arguments, product)
}

impl<'a> Product<'a> {
    /// Reads the factors of a product that is neither scaled nor biased, with `b` as `[k, n]`.
    fn plain(
        arguments: &'a Bound<'_>,
        [a, b]: [&str; 2],
        sizes: ProductSizes,
    ) -> Result<Product<'a>, ExecError> {
        Ok(Product {
            a: operand::values(arguments, a)?,
            b: operand::values(arguments, b)?,
            sizes,
            order: FactorOrder::KByN,
            a_scale: 1.0,
            b_scale: 1.0,
            alpha: 1.0,
            bias: None,
            dtype: DType::Float32,
        })
    }
}

/// Reads a dtype that a product can be rounded to.
pub(crate) fn float_dtype(arguments: &Bound<'_>, name: &str) -> Result<DType, ExecError> {
    let dtype = arguments.dtype(name)?;
    if dtype.kind() == DTypeKind::Float {
        return Ok(dtype);
    }
    Err(operand::wrong_value(name, dtype, "a product is rounded to floats"))
}

impl ProductSizes {
    /// Reads the sizes of `A` `[batch, m, k]` and `B` `[batch, k, n]`.
    fn of_batches(arguments: &Bound<'_>) -> Result<ProductSizes, ExecError> {
        let [batch, m, k] = operand::sizes(arguments, "A", "[batch, m, k]")?;
        let [b_batch, b_k, n] = operand::sizes(arguments, "B", "[batch, k, n]")?;
        if (b_batch, b_k) != (batch, k) {
            let expected = format!("[{batch}, {k}, n], batch and k as in `A`");
            return Err(operand::wrong_shape("B", &[b_batch, b_k, n], expected));
        }
        ProductSizes { batch, m, k, n }.checked(arguments, "A", "B")
    }

    /// Fails where the result is out of proportion to the factors.
    pub(crate) fn checked(self, arguments: &Bound<'_>, a: &str, b: &str) -> Result<ProductSizes, ExecError> {
        let inputs = arguments.tensor(a)?.numel().saturating_add(arguments.tensor(b)?.numel());
        operand::result_numel(&[self.batch, self.m, self.n], inputs)?;
        Ok(self)
    }
}
