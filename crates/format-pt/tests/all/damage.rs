//! Files that were cut, or in which bits changed.

use std::fs;
use std::path::Path;

use callbox_core::{Bytes, DType, Layout, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_testkit::hostile::forge::Forgery;

use crate::reading::decode;

/// Small files of all three writers: torch, this crate, an ordinary zip program.
fn small_files() -> Vec<Vec<u8>> {
    let torch = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/shared.pt");
    let layout = Layout::new(&[2, 3], &[1, 2], 1).unwrap();
    let tensor = TensorBuf::new(DType::Int16, layout, Bytes::from_static(&[5; 20])).unwrap();
    let group = TensorGroup {
        stem: "inputs",
        tensors: vec![("arg_0", tensor.as_view()), ("arg_1", tensor.as_view())],
    };
    let mut ours = Vec::new();
    PtSerializer.encode(&group, &mut ours).unwrap();
    vec![fs::read(torch).unwrap(), ours, Forgery::honest().bytes()]
}

/// Key, dtype, layout and elements of every tensor.
fn contents(tensors: &TensorMap) -> Vec<(String, DType, Layout, Vec<u8>)> {
    let contents = tensors.iter().map(|(key, tensor)| match tensor {
        LoadedTensor::Whole(tensor) => {
            (key.to_owned(), tensor.dtype(), tensor.layout().clone(), tensor.to_bytes())
        }
        LoadedTensor::WithoutElements { .. } => panic!("{key} has lost its elements"),
    });
    contents.collect()
}

#[test]
fn u57_no_part_of_a_file_passes_for_the_whole() {
    for file in small_files() {
        for len in 0..file.len() {
            assert!(decode(file[..len].to_vec()).is_err(), "the first {len} bytes were accepted");
        }
    }
}

#[test]
fn bytes_behind_the_end_are_not_overlooked() {
    for mut file in small_files() {
        file.push(0);
        assert!(decode(file).is_err());
    }
}

#[test]
fn u56_a_flipped_bit_is_found_or_does_no_harm() {
    for file in small_files() {
        let original = contents(&decode(file.clone()).unwrap());
        let mut found = 0;
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match decode(damaged) {
                Err(_) => found += 1,
                Ok(tensors) => assert!(contents(&tensors) == original, "bit {bit} gives other tensors"),
            }
        }
        assert!(found > file.len(), "only {found} of {} flips were found", file.len() * 8);
    }
}

#[test]
fn a_block_of_zeros_is_found_or_does_no_harm() {
    for file in small_files() {
        let original = contents(&decode(file.clone()).unwrap());
        for start in (0..file.len()).step_by(64) {
            let mut damaged = file.clone();
            let end = file.len().min(start + 512);
            damaged[start..end].fill(0);
            if let Ok(tensors) = decode(damaged) {
                assert!(contents(&tensors) == original, "zeros from {start} on give other tensors");
            }
        }
    }
}
