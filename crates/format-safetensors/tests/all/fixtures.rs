//! Files that safetensors 0.8 wrote from Python, against what torch 2.15 reads from them.

use std::fs;
use std::path::Path;

use callbox_core::{Bytes, DType, TensorSerializer};
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_testkit::hostile::forge::safetensors;

use crate::{decode, whole};

/// File, key, dtype, shape, strides, CRC-32 of the row-major elements.
type Row = (&'static str, &'static str, DType, &'static [usize], &'static [usize], u32);

const TENSORS: [Row; 10] = [
    ("empty", "arg_0", DType::Float16, &[3, 0, 2], &[2, 2, 1], 0),
    ("float4", "arg_0", DType::Float4E2M1FnX2, &[3, 4], &[4, 1], 0x9270c965),
    ("float8_e8m0", "arg_0", DType::Float8E8M0Fnu, &[3, 4], &[4, 1], 0x0321d40e),
    ("mixed", "arg_2", DType::Float32, &[], &[], 0x8899ff9c),
    ("mixed", "arg_3", DType::Float32, &[], &[], 0xd7b6d213),
    ("mixed", "arg_5", DType::BFloat16, &[1, 1, 7], &[7, 7, 1], 0xd1bb79c7),
    ("mixed", "arg_1", DType::Float8E4M3Fn, &[1, 16, 7], &[112, 7, 1], 0x49e87e20),
    ("mixed", "arg_0", DType::Float8E5M2, &[1, 1, 16], &[16, 16, 1], 0x9eee7162),
    ("scalar", "arg_0", DType::Float32, &[], &[], 0xc21cba2e),
    ("transposed", "arg_0", DType::Float32, &[10, 6], &[6, 1], 0xf18391f6),
];

fn read(name: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(data.join(format!("{name}.safetensors"))).unwrap()
}

#[test]
fn every_kind_of_tensor_is_what_torch_reads() {
    for (file, key, dtype, shape, strides, crc) in TENSORS {
        let tensors = decode(read(file)).unwrap();
        let tensor = whole(&tensors, key);
        let place = format!("{file}: {key}");
        assert_eq!(tensor.dtype(), dtype, "{place}");
        assert_eq!(tensor.shape(), shape, "{place}");
        assert_eq!(tensor.layout().strides(), strides, "{place}");
        assert_eq!(crc32fast::hash(&tensor.to_bytes()), crc, "{place}");
    }
}

#[test]
fn tensors_come_in_the_order_of_their_data() {
    let tensors = decode(read("mixed")).unwrap();
    let keys: Vec<_> = tensors.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["arg_2", "arg_3", "arg_5", "arg_1", "arg_0"]);
}

#[test]
fn a_header_may_name_the_tensors_in_another_order() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
    let tensors = decode(safetensors(header, &[1, 2, 3])).unwrap();
    let elements: Vec<_> = tensors.iter().map(|(key, _)| (key, whole(&tensors, key).storage())).collect();
    assert_eq!(elements, [("b", [1, 2].as_slice()), ("a", &[3])]);
}

#[test]
fn the_elements_are_the_file_s_own_bytes() {
    let bytes = Bytes::from(read("transposed"));
    let tensors = SafetensorsSerializer.decode(bytes.clone()).unwrap();
    let elements = whole(&tensors, "arg_0").storage().as_ptr_range();
    let bytes = bytes.as_ptr_range();
    assert!(bytes.start <= elements.start && elements.end <= bytes.end, "the elements were copied");
}
