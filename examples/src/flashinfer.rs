//! Some of FlashInfer's functions, annotated; the CPU executor does the work.

use callbox::core::{Arguments, ExecError, Executor, FunctionName, Instance, OwnedValue, Value};
use callbox::{DType, ObjectId, TensorBuf};
use callbox_kernels_cpu::CpuExecutor;

const GEMM: &str = "flashinfer.gemm.gemm_base";
const DECODE: &str = "flashinfer.decode";

/// Multiplies batches of fp8 matrices: `out[i] = a[i] · b[i] · a_scale · b_scale`.
///
/// `a` has the shape `[batch, m, k]`, `b` `[batch, k, n]` and is column-major, `out` `[batch, m, n]`; the scales
/// are single f32.
#[callbox::record(module = "flashinfer.gemm.gemm_base", kwargs(backend))]
pub fn bmm_fp8(
    a: &TensorBuf,
    b: &TensorBuf,
    a_scale: &TensorBuf,
    b_scale: &TensorBuf,
    dtype: DType,
    out: &mut TensorBuf,
    backend: &str,
) -> Result<TensorBuf, ExecError> {
    let tensors = [a, b, a_scale, b_scale].map(|tensor| Value::Tensor(tensor.clone()));
    let mut arguments = Arguments {
        positional: [tensors.as_slice(), &[Value::dtype(dtype), Value::Tensor(out.clone())]].concat(),
        keyword: vec![("backend".to_owned(), Value::text(backend))],
    };
    let result = CpuExecutor.call(&FunctionName::new(GEMM, "bmm_fp8"), &mut arguments)?;
    if let Some(Value::Tensor(written)) = arguments.positional.pop() {
        *out = written;
    }
    tensor(result)
}

/// Attention of single queries over a paged key-value cache: one query a sequence.
#[derive(Debug)]
pub struct BatchDecodeWithPagedKVCacheWrapper {
    id: ObjectId,
    instance: Box<dyn Instance>,
}

#[callbox::record(module = "flashinfer.decode", id = id)]
impl BatchDecodeWithPagedKVCacheWrapper {
    /// Takes a workspace and the layout of the cache, `NHD` or `HND`.
    pub fn new(workspace: &TensorBuf, kv_layout: &str) -> Result<Self, ExecError> {
        let name = FunctionName::new(DECODE, "BatchDecodeWithPagedKVCacheWrapper.__init__");
        let mut arguments = positional(vec![Value::Tensor(workspace.clone()), Value::text(kv_layout)]);
        let instance = CpuExecutor.construct(&name, &mut arguments)?;
        Ok(BatchDecodeWithPagedKVCacheWrapper { id: ObjectId::of::<Self>(), instance })
    }

    /// Plans a batch: for each sequence, where its pages are and how full the last one is.
    #[record(kwargs(data_type, q_data_type))]
    #[expect(clippy::too_many_arguments, reason = "they are FlashInfer's")]
    pub fn plan(
        &mut self,
        indptr: &TensorBuf,
        indices: &TensorBuf,
        last_page_len: &TensorBuf,
        num_qo_heads: usize,
        num_kv_heads: usize,
        head_dim: usize,
        page_size: usize,
        data_type: DType,
        q_data_type: DType,
    ) -> Result<(), ExecError> {
        let tensors = [indptr, indices, last_page_len].map(|tensor| Value::Tensor(tensor.clone()));
        let sizes = [num_qo_heads, num_kv_heads, head_dim, page_size].map(|size| Value::int(size as i64));
        let mut arguments =
            positional([tensors, [sizes[0].clone(), sizes[1].clone(), sizes[2].clone()]].concat());
        arguments.positional.push(sizes[3].clone());
        arguments.keyword = vec![
            ("data_type".to_owned(), Value::dtype(data_type)),
            ("q_data_type".to_owned(), Value::dtype(q_data_type)),
        ];
        self.instance.call("plan", &mut arguments).map(|_| ())
    }

    /// Runs the planned batch: queries `[batch, heads, head_dim]`, cache `[pages, 2, page_size, kv_heads, head_dim]`.
    ///
    /// Gives the output and the log-sum-exp `[batch, heads]`.
    #[record(kwargs(return_lse))]
    pub fn run(
        &mut self,
        q: &TensorBuf,
        kv_cache: &TensorBuf,
        return_lse: bool,
    ) -> Result<(TensorBuf, Option<TensorBuf>), ExecError> {
        let mut arguments = positional(vec![Value::Tensor(q.clone()), Value::Tensor(kv_cache.clone())]);
        arguments.keyword = vec![("return_lse".to_owned(), Value::Bool(return_lse))];
        match self.instance.call("run", &mut arguments)? {
            Value::Tuple { items, .. } => {
                let mut items = items.into_iter().map(tensor);
                let output = items.next().expect("a tuple of two")?;
                Ok((output, items.next().transpose()?))
            }
            output => Ok((tensor(output)?, None)),
        }
    }
}

fn positional(positional: Vec<OwnedValue>) -> Arguments {
    Arguments { positional, keyword: Vec::new() }
}

fn tensor(value: OwnedValue) -> Result<TensorBuf, ExecError> {
    match value {
        Value::Tensor(tensor) => Ok(tensor),
        other => Err(ExecError::ArgumentType {
            argument: "result".to_owned(),
            expected: "a tensor",
            found: other.type_name().to_owned(),
        }),
    }
}
