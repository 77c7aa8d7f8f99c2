//! Every file of the corpus, tensor by tensor, against what torch and safetensors themselves read from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use callbox_core::{Bytes, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_tests::corpus;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// How many there are of each.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    readable_files: usize,
    tensors: usize,
    hashes: usize,
    without_elements: usize,
    refused_files: usize,
}

#[test]
fn every_tensor_of_the_corpus_is_what_torch_reads() {
    let Some(corpus) = corpus("every_tensor_of_the_corpus_is_what_torch_reads") else {
        return;
    };
    let mut counts = Counts::default();
    let mut refusals = Vec::new();
    for (file, expected) in &truth(&corpus) {
        let serializer = serializer(Path::new(file));
        let bytes = Bytes::from(fs::read(corpus.join(file)).unwrap());
        match serializer.decode(bytes) {
            Err(error) => {
                assert!(expected.contains_key("error"), "{file}: {error}");
                counts.refused_files += 1;
                refusals.push(format!("{file}: {error}"));
            }
            Ok(tensors) => {
                assert!(!expected.contains_key("error"), "{file}: torch refuses it");
                counts.readable_files += 1;
                check_file(file, &tensors, expected, serializer.format().keeps_layout, &mut counts);
            }
        }
    }
    println!("{counts:?}");
    refusals.iter().for_each(|refusal| println!("{refusal}"));
    assert_eq!(
        counts,
        Counts { readable_files: 1366, tensors: 2209, hashes: 2201, without_elements: 8, refused_files: 4 }
    );
}

fn check_file(
    file: &str,
    tensors: &TensorMap,
    expected: &BTreeMap<String, Value>,
    keeps_layout: bool,
    counts: &mut Counts,
) {
    assert_eq!(tensors.len(), expected.len(), "{file}");
    for (key, tensor) in tensors.iter() {
        let place = format!("{file}: {key}");
        let expected = expected.get(key).unwrap_or_else(|| panic!("{place}: torch has no such tensor"));
        counts.tensors += 1;
        match tensor {
            LoadedTensor::Whole(tensor) => {
                check_tensor(&place, tensor, expected, keeps_layout);
                counts.hashes += 1;
            }
            LoadedTensor::WithoutElements { dtype, shape, .. } => {
                assert_eq!(expected["sha256"], Value::Null, "{place}: torch has elements");
                assert_eq!(expected["dtype"], dtype.to_string(), "{place}");
                assert_eq!(expected["shape"], Value::from(shape.as_slice()), "{place}");
                counts.without_elements += 1;
            }
        }
    }
}

fn check_tensor(place: &str, tensor: &TensorBuf, expected: &Value, keeps_layout: bool) {
    let layout = tensor.layout();
    assert_eq!(expected["dtype"], tensor.dtype().to_string(), "{place}");
    assert_eq!(expected["shape"], Value::from(layout.shape()), "{place}");
    assert_eq!(expected["stride"], Value::from(layout.strides()), "{place}");
    assert_eq!(expected["storage_offset"], layout.offset(), "{place}");
    if keeps_layout {
        assert_eq!(expected["requires_grad"], tensor.flags().requires_grad, "{place}");
    }
    let mut hash = Sha256::new();
    tensor.for_each_piece(&mut |piece| hash.update(piece));
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(expected["sha256"], hash, "{place}");
}

#[test]
fn a_file_written_again_is_torch_s_own_byte_for_byte() {
    let Some(corpus) = corpus("a_file_written_again_is_torch_s_own_byte_for_byte") else {
        return;
    };
    let mut identical = 0;
    let mut others = Vec::new();
    for file in truth(&corpus).keys() {
        let path = corpus.join(file);
        let theirs = fs::read(&path).unwrap();
        let serializer = serializer(&path);
        let Ok(map) = serializer.decode(Bytes::from(theirs.clone())) else {
            continue;
        };
        let tensors = map.iter().filter_map(|(key, tensor)| match tensor {
            LoadedTensor::Whole(tensor) => Some((key, tensor.as_view())),
            LoadedTensor::WithoutElements { .. } => None,
        });
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let tensors = tensors.collect();
        let group = TensorGroup { stem, tensors };
        let mut ours = Vec::new();
        let written = serializer.encode(&group, &mut ours);
        if written.is_ok() && without_serialization_id(ours, stem) == without_serialization_id(theirs, stem) {
            identical += 1;
        } else {
            others.push(file.clone());
        }
    }
    println!("{identical} identical, {} not:", others.len());
    others.iter().for_each(|file| println!("{file}"));
    // The others hold one tensor object twice (which torch writes once), a parameter or a buffer (which come
    // back as tensors), a quantised tensor, or none with elements.
    assert_eq!((identical, others.len()), (1341, 25));
}

/// Blanks what torch derives from a hash of its own: the 40 digits of a `.pt` file and their two checksums.
fn without_serialization_id(mut file: Vec<u8>, stem: &str) -> Vec<u8> {
    let name = format!("{stem}/.data/serialization_id");
    let name = name.as_bytes();
    let places: Vec<usize> = (0..file.len()).filter(|&at| file[at..].starts_with(name)).collect();
    if let [local, central] = places[..] {
        let digits = (local + name.len() + 4).next_multiple_of(64);
        file[digits..digits + 40].fill(0);
        file[digits + 44..digits + 48].fill(0);
        file[central - 30..central - 26].fill(0);
    }
    file
}

fn truth(corpus: &Path) -> BTreeMap<String, BTreeMap<String, Value>> {
    let truth = fs::read(corpus.join("truth.json")).unwrap();
    serde_json::from_slice(&truth).unwrap()
}

fn serializer(file: &Path) -> &'static dyn TensorSerializer {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("pt") => &PtSerializer,
        Some("safetensors") => &SafetensorsSerializer,
        other => panic!("{other:?} is no extension of a tensor file"),
    }
}
