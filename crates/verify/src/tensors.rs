//! Whether a file's tensors are those that the call's record describes.

use callbox_core::{CallRecord, Group, LoadedTensor, Quoted, TensorMap, TensorMeta};

/// Says how a file's tensors differ from what is recorded of them; empty where they do not.
pub(crate) fn compare(record: &CallRecord, group: Group, tensors: &TensorMap) -> Vec<String> {
    let info = &record.tensor_info;
    let keys = match group {
        Group::Inputs => &info.input_keys,
        Group::Outputs => &info.output_keys,
        Group::ArgsAfter => &info.args_after_keys,
    };
    if keys.is_empty() {
        // No line tells of the group: the process ended before it was written, or its outputs are unconfirmed.
        return Vec::new();
    }
    let mut differences = Vec::new();
    for key in keys.iter().filter(|key| tensors.get(key).is_none()) {
        differences.push(format!("tensor {} is recorded, and not in the file", Quoted(key.as_bytes())));
    }
    for (key, tensor) in tensors.iter() {
        if !keys.iter().any(|known| known == key) {
            differences.push(format!("tensor {} is in the file, and not recorded", Quoted(key.as_bytes())));
        } else if group != Group::ArgsAfter {
            // After-images have the keys of the arguments, whose descriptions are those from before the call.
            differences.extend(difference(key, tensor, &record.tensor_details));
        }
    }
    differences
}

fn difference(key: &str, tensor: &LoadedTensor, details: &[(String, TensorMeta)]) -> Option<String> {
    let (dtype, shape) = match tensor {
        LoadedTensor::Whole(tensor) => (tensor.dtype(), tensor.shape()),
        LoadedTensor::WithoutElements { dtype, shape, .. } => (*dtype, &shape[..]),
    };
    // Arguments and results may share a key: one of the descriptions has to fit.
    let described: Vec<_> = details.iter().filter(|(known, _)| known == key).map(|(_, meta)| meta).collect();
    let fits = |meta: &&TensorMeta| meta.shape == shape && meta.dtype == dtype.to_string();
    let first = described.first()?;
    if described.iter().any(fits) {
        return None;
    }
    Some(format!(
        "tensor {} is {dtype} {shape:?} in the file, {} {:?} in the record",
        Quoted(key.as_bytes()),
        first.dtype,
        first.shape,
    ))
}
