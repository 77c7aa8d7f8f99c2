//! Files that torch and safetensors wrote, with their own description beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use callbox_core::{Bytes, LoadedTensor, TensorBuf};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::session::Format;
use crate::tensor::hex;

/// Reads every file of `work/theirs` and compares with `theirs/expected.json`; gives the files and tensors of
/// each format.
pub(crate) fn check(work: &Path) -> Result<BTreeMap<&'static str, (usize, usize)>> {
    let folder = work.join("theirs");
    let expected: BTreeMap<String, BTreeMap<String, Json>> =
        serde_json::from_slice(&fs::read(folder.join("expected.json"))?)?;
    let mut counts = BTreeMap::new();
    for (file, expected) in &expected {
        let format = Format::ALL.into_iter().find(|format| file.ends_with(format.extension()));
        let format = format.with_context(|| format!("{file}: no known extension"))?;
        let tensors = format.serializer().decode(Bytes::from(fs::read(folder.join(file))?));
        let tensors = tensors.with_context(|| format!("{file}: callbox cannot read it"))?;
        ensure!(
            tensors.len() == expected.len(),
            "{file}: {} tensors, expected {}",
            tensors.len(),
            expected.len()
        );
        for (key, expected) in expected {
            let Some(LoadedTensor::Whole(tensor)) = tensors.get(key) else {
                bail!("{file}: {key} is not there")
            };
            let found = describe(tensor);
            ensure!(found == *expected, "{file}: {key} is\n  {found}, the writer says\n  {expected}");
        }
        let (files, count) = counts.entry(format.extension()).or_insert((0, 0));
        *files += 1;
        *count += tensors.len();
    }
    Ok(counts)
}

fn describe(tensor: &TensorBuf) -> Json {
    let layout = tensor.layout();
    json!({
        "dtype": tensor.dtype().to_string(),
        "shape": layout.shape(),
        "stride": layout.strides(),
        "storage_offset": layout.offset(),
        "requires_grad": tensor.flags().requires_grad,
        "sha256": hex(&Sha256::digest(tensor.to_bytes())),
    })
}
