//! Files of recorded sessions, read and written again in both formats.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use callbox_core::{Bytes, LoadedTensor, TensorGroup, TensorView};
use serde_json::{Value as Json, json};

use crate::session::Format;

/// The parts of the corpus that are written again.
const PARTS: [&str; 2] = ["ops/", "zoo/"];

/// Writes the files into `work/corpus`; gives one entry a file written, with its source and what it lacks.
pub(crate) fn rewrite(work: &Path, corpus: &Path) -> Result<Vec<Json>> {
    let truth = corpus.join("truth.json");
    let truth: BTreeMap<String, Json> = serde_json::from_slice(&fs::read(&truth)?).context("truth.json")?;
    let mut written = Vec::new();
    for source in truth.keys().filter(|file| PARTS.iter().any(|part| file.starts_with(part))) {
        let format = match Path::new(source).extension() {
            Some(extension) if extension == Format::Pt.extension() => Format::Pt,
            _ => Format::Safetensors,
        };
        let bytes = Bytes::from(fs::read(corpus.join(source))?);
        let Ok(tensors) = format.serializer().decode(bytes) else {
            // The peers' own reader has to refuse it too.
            written.push(json!({ "source": source, "file": null }));
            continue;
        };
        for format in Format::ALL {
            let file = format!("corpus/{source}.{}", format.extension());
            let mut left_out = BTreeMap::new();
            let mut views = Vec::new();
            for (key, tensor) in tensors.iter() {
                match can_be_written(key, tensor, format) {
                    Ok(view) => views.push((key, view)),
                    Err(reason) => {
                        left_out.insert(key, reason);
                    }
                }
            }
            write(&work.join(&file), format, views).context(file.clone())?;
            written.push(json!({ "source": source, "file": file, "left_out": left_out }));
        }
    }
    Ok(written)
}

/// Tells why a tensor cannot be written.
fn can_be_written<'a>(key: &str, tensor: &'a LoadedTensor, format: Format) -> Result<TensorView<'a>, String> {
    let view = match tensor {
        LoadedTensor::Whole(tensor) => tensor.as_view(),
        LoadedTensor::WithoutElements { reason, .. } => return Err(reason.clone()),
    };
    let alone = TensorGroup { stem: "inputs", tensors: vec![(key, view.clone())] };
    format.serializer().plan(&alone).map(|_| view).map_err(|error| error.to_string())
}

fn write(path: &Path, format: Format, tensors: Vec<(&str, TensorView<'_>)>) -> Result<()> {
    fs::create_dir_all(path.parent().context("a file in a folder")?)?;
    let group = TensorGroup { stem: "inputs", tensors };
    Ok(format.serializer().encode(&group, &mut File::create(path)?)?)
}
