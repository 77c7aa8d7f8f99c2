//! What must hold of a file of tensors that was accepted, and of one that was refused.

use callbox_core::{Bytes, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;

/// Bytes that a reader looks at before it reads a large file.
const HEAD: usize = 512;
/// What is written anew must stay in proportion: an expanded tensor may stand for petabytes.
const REWRITTEN: u64 = 1 << 20;

/// Reads a file and holds the format to its promises; returns the tensors of one that is accepted.
pub(crate) fn check_file(format: &dyn TensorSerializer, file: &[u8]) -> Option<TensorMap> {
    let recognised = format.recognise(&file[..file.len().min(HEAD)]);
    let tensors = match format.decode(Bytes::copy_from_slice(file)) {
        Ok(tensors) => tensors,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return None;
        }
    };
    assert!(recognised.is_ok(), "a look at its first bytes refuses a file that is read: {recognised:?}");
    for (_, tensor) in tensors.iter() {
        read_elements(tensor);
    }
    for other in [&PtSerializer as &dyn TensorSerializer, &SafetensorsSerializer] {
        write_anew(other, &tensors);
    }
    Some(tensors)
}

/// Reads the elements in every way there is.
fn read_elements(tensor: &LoadedTensor) {
    let LoadedTensor::Whole(tensor) = tensor else { return };
    let meta = tensor.to_meta();
    assert_eq!(meta.shape.len(), meta.strides.len());
    if tensor.check_expansion().is_err() || tensor.as_view().byte_len() > REWRITTEN {
        return;
    }
    assert_eq!(tensor.to_bytes().len() as u64, tensor.as_view().byte_len());
    // Each dtype has readings that it refuses; no reading changes how many elements there are.
    if let Ok(floats) = tensor.to_f64() {
        assert!(floats.len() == tensor.numel() || floats.len() == 2 * tensor.numel());
    }
    if let Ok(integers) = tensor.to_i64() {
        assert_eq!(integers.len(), tensor.numel());
    }
}

/// Writes the tensors that have elements, and reads them back.
fn write_anew(format: &dyn TensorSerializer, tensors: &TensorMap) {
    let whole: Vec<(&str, &TensorBuf)> = tensors
        .iter()
        .filter_map(|(key, tensor)| match tensor {
            LoadedTensor::Whole(tensor) => Some((key, tensor)),
            LoadedTensor::WithoutElements { .. } => None,
        })
        .collect();
    let views = whole.iter().map(|(key, tensor)| (*key, tensor.as_view())).collect();
    let group = TensorGroup { stem: "inputs", tensors: views };
    // Not every format holds every tensor.
    let Ok(plan) = format.plan(&group) else { return };
    if plan.bytes > REWRITTEN {
        return;
    }
    let mut file = Vec::new();
    format.encode(&group, &mut file).expect("what can be planned can be written");
    assert_eq!(file.len() as u64, plan.bytes, "a plan tells the exact size");
    let again = format.decode(Bytes::from(file)).expect("what is written can be read");
    assert_eq!(again.len(), whole.len());
    for (key, tensor) in whole {
        let Some(LoadedTensor::Whole(again)) = again.get(key) else { panic!("{key:?} was not read back") };
        assert_eq!((again.dtype(), again.shape()), (tensor.dtype(), tensor.shape()));
        if format.format().keeps_layout {
            assert_eq!(again.layout().strides(), tensor.layout().strides());
        }
        if tensor.as_view().byte_len() <= REWRITTEN {
            assert_eq!(again.to_bytes(), tensor.to_bytes(), "{key:?} has other elements");
        }
    }
}
