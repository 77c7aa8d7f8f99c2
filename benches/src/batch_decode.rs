//! Example 2 of FlashInfer's logging documentation: a batch decode with a paged cache, in its own sizes.

use anyhow::Context;
use callbox_core::{Arguments, DType, Executor, FunctionName, Instance, OwnedValue, TensorBuf, Value};
use serde_json::json;

use crate::session::Call;

const BATCH: usize = 4;
const KV_LEN: usize = 512;
const PAGE_SIZE: usize = 16;
const QO_HEADS: usize = 32;
const KV_HEADS: usize = 4;
const HEAD_DIM: usize = 128;
const PAGES_PER_SEQUENCE: usize = KV_LEN.div_ceil(PAGE_SIZE);
const WORKSPACE_BYTES: usize = 32 << 20;

const MODULE: &str = "flashinfer.decode";
const CLASS: &str = "BatchDecodeWithPagedKVCacheWrapper";

/// The tensors of the three calls.
#[derive(Debug)]
pub(crate) struct BatchDecode {
    workspace: TensorBuf,
    indptr: TensorBuf,
    indices: TensorBuf,
    last_page_len: TensorBuf,
    q: TensorBuf,
    kv: TensorBuf,
}

impl BatchDecode {
    /// Fills the tensors; the same values every time.
    pub(crate) fn new() -> anyhow::Result<BatchDecode> {
        let pages = PAGES_PER_SEQUENCE * BATCH;
        let indptr = (0..=BATCH).map(|sequence| sequence * PAGES_PER_SEQUENCE);
        Ok(BatchDecode {
            workspace: TensorBuf::from_elements(DType::Int8, &[WORKSPACE_BYTES], vec![0; WORKSPACE_BYTES])?,
            indptr: int32s(indptr)?,
            indices: int32s(0..pages)?,
            last_page_len: int32s([(KV_LEN - 1) % PAGE_SIZE + 1; BATCH])?,
            q: float16s(&[BATCH, QO_HEADS, HEAD_DIM])?,
            kv: float16s(&[pages, 2, PAGE_SIZE, KV_HEADS, HEAD_DIM])?,
        })
    }

    /// Builds the wrapper and plans.
    pub(crate) fn planned(&self, executor: &mut dyn Executor) -> anyhow::Result<Box<dyn Instance>> {
        let mut arguments = Arguments {
            positional: vec![Value::Tensor(self.workspace.clone()), Value::text("NHD")],
            keyword: Vec::new(),
        };
        let mut wrapper = executor.construct(&method("__init__"), &mut arguments)?;
        let sizes = [QO_HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE].map(|size| Value::int(size as i64));
        let tensors = [&self.indptr, &self.indices, &self.last_page_len].map(|t| Value::Tensor(t.clone()));
        let mut arguments = Arguments {
            positional: tensors.into_iter().chain(sizes).collect(),
            keyword: ["data_type", "q_data_type"]
                .map(|name| (name.to_owned(), Value::dtype(DType::Float16)))
                .into(),
        };
        wrapper.call("plan", &mut arguments)?;
        Ok(wrapper)
    }

    /// Runs a planned wrapper; gives the output and its log-sum-exp.
    pub(crate) fn run(&self, wrapper: &mut dyn Instance) -> anyhow::Result<[TensorBuf; 2]> {
        let mut arguments = Arguments {
            positional: vec![Value::Tensor(self.q.clone()), Value::Tensor(self.kv.clone())],
            keyword: vec![("return_lse".to_owned(), Value::Bool(true))],
        };
        let result = wrapper.call("run", &mut arguments)?;
        two_tensors(result).context("`run` returned something else than two tensors")
    }

    /// Returns the three calls as a recorder would have them, with these results of `run`.
    pub(crate) fn recorded([output, lse]: [TensorBuf; 2]) -> anyhow::Result<[Call; 3]> {
        let example = BatchDecode::new()?;
        let call = |name, inputs, input_metadata, outputs, output_metadata| Call {
            function: method(name),
            self_id: 1,
            inputs,
            input_metadata,
            outputs,
            output_metadata,
        };
        let wrapper = json!({"type": CLASS, "repr": "<a wrapper>"});
        let float16 = json!({"type": "torch.dtype", "value": "torch.float16"});
        Ok([
            call(
                "__init__",
                vec![("arg_1", example.workspace)],
                json!({"arg_0": wrapper, "arg_2": "NHD"}),
                Vec::new(),
                json!({"result": null}),
            ),
            call(
                "plan",
                vec![("arg_1", example.indptr), ("arg_2", example.indices), ("arg_3", example.last_page_len)],
                json!({
                    "arg_0": wrapper,
                    "arg_4": QO_HEADS,
                    "arg_5": KV_HEADS,
                    "arg_6": HEAD_DIM,
                    "arg_7": PAGE_SIZE,
                    "kwarg_data_type": float16,
                    "kwarg_q_data_type": float16,
                }),
                Vec::new(),
                json!({"result": null}),
            ),
            call(
                "run",
                vec![("arg_1", example.q), ("arg_2", example.kv)],
                json!({"arg_0": wrapper, "kwarg_return_lse": true}),
                vec![("result_0", output), ("result_1", lse)],
                json!({}),
            ),
        ])
    }
}

fn method(name: &str) -> FunctionName {
    FunctionName::new(MODULE, format!("{CLASS}.{name}"))
}

fn two_tensors(result: OwnedValue) -> Option<[TensorBuf; 2]> {
    let Value::Tuple { items, .. } = result else {
        return None;
    };
    match <[OwnedValue; 2]>::try_from(items) {
        Ok([Value::Tensor(output), Value::Tensor(lse)]) => Some([output, lse]),
        Ok(_) | Err(_) => None,
    }
}

fn int32s(values: impl IntoIterator<Item = usize>) -> anyhow::Result<TensorBuf> {
    let values: Vec<i32> = values.into_iter().map(i32::try_from).collect::<Result<_, _>>()?;
    let elements = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(TensorBuf::from_elements(DType::Int32, &[values.len()], elements)?)
}

/// Fills a tensor with numbers between -2 and 2 that look random.
fn float16s(shape: &[usize]) -> anyhow::Result<TensorBuf> {
    let count: usize = shape.iter().product();
    let mut tensor = TensorBuf::from_elements(DType::Float16, shape, vec![0; 2 * count])?;
    // Weyl's sequence: multiples of the golden ratio, without their whole parts.
    let values: Vec<f32> =
        (1..=count).map(|n| (n as f64 * 0.618_033_988_749_895).fract() as f32 * 4.0 - 2.0).collect();
    tensor.write_f32(&values)?;
    Ok(tensor)
}
