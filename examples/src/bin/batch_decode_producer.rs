//! Records an object: its constructor, `plan` and `run`.
//!
//! ```sh
//! FLASHINFER_LOGLEVEL=10 FLASHINFER_DUMP_DIR=batch_decode_dumps cargo run --release -p callbox-examples --bin batch_decode_producer
//! ```

#![expect(clippy::print_stdout, reason = "the program shows its result")]

use anyhow::Result;
use callbox::{DType, TensorBuf};
use callbox_examples::flashinfer::BatchDecodeWithPagedKVCacheWrapper;
use callbox_examples::random::Random;

const BATCH: usize = 4;
const KV_LEN: usize = 512;
const PAGE_SIZE: usize = 16;
const KV_HEADS: usize = 4;
const QO_HEADS: usize = 32;
const HEAD_DIM: usize = 128;
const WORKSPACE_BYTES: usize = 32 << 20;

fn main() -> Result<()> {
    let _recording = callbox::from_env();
    let mut random = Random::new(0);

    let pages_each = KV_LEN.div_ceil(PAGE_SIZE);
    let pages = pages_each * BATCH;
    let q = random.tensor(DType::Float16, &[BATCH, QO_HEADS, HEAD_DIM])?;
    let kv_cache = random.tensor(DType::Float16, &[pages, 2, PAGE_SIZE, KV_HEADS, HEAD_DIM])?;
    let indptr = indices((0..=BATCH).map(|sequence| sequence * pages_each))?;
    let page_indices = indices(0..pages)?;
    let last_page_len = indices([(KV_LEN - 1) % PAGE_SIZE + 1; BATCH])?;
    let workspace = TensorBuf::from_elements(DType::Int8, &[WORKSPACE_BYTES], vec![0; WORKSPACE_BYTES])?;

    let mut wrapper = BatchDecodeWithPagedKVCacheWrapper::new(&workspace, "NHD")?;
    wrapper.plan(
        &indptr,
        &page_indices,
        &last_page_len,
        QO_HEADS,
        KV_HEADS,
        HEAD_DIM,
        PAGE_SIZE,
        DType::Float16,
        DType::Float16,
    )?;
    let (output, lse) = wrapper.run(&q, &kv_cache, true)?;

    println!("Output shape: {:?}", output.shape());
    println!("Output[0, 0, :3]: {:?}", &output.to_f32()?[..3]);
    if let Some(lse) = lse {
        println!("LSE shape: {:?}", lse.shape());
        println!("LSE[0, :5]: {:?}", &lse.to_f32()?[..5]);
    }
    Ok(())
}

/// Builds a vector of int32.
fn indices(values: impl IntoIterator<Item = usize>) -> Result<TensorBuf> {
    let values = values.into_iter().map(i32::try_from).collect::<Result<Vec<_>, _>>()?;
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(TensorBuf::from_elements(DType::Int32, &[values.len()], bytes)?)
}
