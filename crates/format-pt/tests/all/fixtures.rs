//! Files that torch 2.15 wrote, against what torch 2.15 reads from them.

use std::fs;
use std::path::Path;

use callbox_core::{Bytes, DType, LoadedTensor, TensorBuf, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;

use crate::reading::{check_refused, decode};

/// What torch says of a tensor, with the CRC-32 of its row-major elements.
struct Expected {
    file: &'static str,
    key: &'static str,
    dtype: DType,
    shape: &'static [usize],
    strides: &'static [usize],
    offset: usize,
    requires_grad: bool,
    crc: u32,
}

const fn row(
    (file, key): (&'static str, &'static str),
    dtype: DType,
    (shape, strides, offset): (&'static [usize], &'static [usize], usize),
    requires_grad: bool,
    crc: u32,
) -> Expected {
    Expected { file, key, dtype, shape, strides, offset, requires_grad, crc }
}

const F32: DType = DType::Float32;

#[rustfmt::skip]
const TENSORS: [Expected; 26] = [
    row(("buffer", "arg_0"), F32, (&[2], &[1], 0), false, 0x72335d70),
    row(("complex32", "arg_0"), DType::Complex32, (&[3, 4], &[4, 1], 0), false, 0xebe329e7),
    row(("conj", "arg_0"), DType::Complex64, (&[3], &[1], 0), false, 0x6fca3461),
    row(("empty", "arg_0"), DType::Float16, (&[3, 0, 2], &[2, 2, 1], 0), false, 0x00000000),
    row(("expanded", "arg_0"), F32, (&[4, 5], &[1, 0], 0), false, 0xff4f0826),
    row(("float4", "arg_0"), DType::Float4E2M1FnX2, (&[3, 4], &[4, 1], 0), false, 0x9270c965),
    row(("float8", "arg_0"), DType::Float8E4M3Fn, (&[3, 4], &[4, 1], 0), false, 0xada691f4),
    row(("neg", "arg_0"), F32, (&[3], &[2], 1), false, 0x494529e1),
    row(("ordered_dict", "arg_0"), F32, (&[3, 4], &[4, 1], 0), false, 0xcfa12024),
    row(("ordered_dict", "arg_1"), DType::BFloat16, (&[3, 4], &[4, 1], 0), false, 0xda61fbd3),
    row(("parameter", "arg_0"), F32, (&[2, 2], &[2, 1], 0), true, 0x13bd5faf),
    row(("parameter_with_state", "arg_0"), F32, (&[3, 4], &[4, 1], 0), true, 0xcfa12024),
    row(("protocol_4", "arg_0"), F32, (&[3, 4], &[4, 1], 0), false, 0xcfa12024),
    row(("protocol_4", "arg_1"), F32, (&[4, 3], &[1, 4], 0), false, 0x0058c5b3),
    row(("protocol_4", "n"), F32, (&[4], &[1], 4), false, 0x53be8e31),
    row(("qint8", "arg_0"), DType::QInt8, (&[4], &[1], 0), false, 0xba851922),
    row(("quint8_per_channel", "arg_0"), DType::QUInt8, (&[3, 4], &[4, 1], 0), false, 0x59da047a),
    row(("requires_grad", "arg_0"), F32, (&[3], &[1], 0), true, 0xcb460a91),
    row(("scalar", "arg_0"), F32, (&[], &[], 0), false, 0xc21cba2e),
    row(("shared", "arg_0"), F32, (&[3, 10], &[10, 1], 0), false, 0x4282157d),
    row(("shared", "arg_1"), F32, (&[4, 10], &[10, 1], 10), false, 0xe2302ee2),
    row(("shared", "kwarg_other"), F32, (&[6, 10], &[10, 1], 0), false, 0x6fe41d32),
    row(("transposed", "arg_0"), F32, (&[10, 6], &[1, 10], 0), false, 0xf18391f6),
    row(("twice", "arg_0"), F32, (&[4, 4], &[4, 1], 0), false, 0x5631414b),
    row(("twice", "arg_1"), F32, (&[4, 4], &[4, 1], 0), false, 0x5631414b),
    row(("unicode_key", "kwarg_a b/ü"), F32, (&[1], &[1], 0), false, 0xaca16a6a),
];

fn read(name: &str) -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::read(data.join(format!("{name}.pt"))).unwrap()
}

fn load(name: &str) -> TensorMap {
    decode(read(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn whole<'a>(tensors: &'a TensorMap, key: &str) -> &'a TensorBuf {
    match tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => tensor,
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn every_kind_of_tensor_is_what_torch_reads() {
    for expected in &TENSORS {
        let tensors = load(expected.file);
        let tensor = whole(&tensors, expected.key);
        let place = format!("{}: {}", expected.file, expected.key);
        assert_eq!(tensor.dtype(), expected.dtype, "{place}");
        assert_eq!(tensor.shape(), expected.shape, "{place}");
        assert_eq!(tensor.layout().strides(), expected.strides, "{place}");
        assert_eq!(tensor.layout().offset(), expected.offset, "{place}");
        assert_eq!(tensor.flags().requires_grad, expected.requires_grad, "{place}");
        assert_eq!(crc32fast::hash(&tensor.to_bytes()), expected.crc, "{place}");
    }
}

#[test]
fn the_keys_come_in_the_order_of_the_file() {
    let tensors = load("shared");
    let keys: Vec<_> = tensors.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["arg_0", "arg_1", "kwarg_other"]);
}

#[test]
fn views_of_one_storage_share_its_bytes_with_the_file() {
    let file = Bytes::from(read("shared"));
    let tensors = PtSerializer.decode(file.clone()).unwrap();
    let ids = ["arg_0", "arg_1", "kwarg_other"].map(|key| whole(&tensors, key).storage_id());
    assert_eq!(ids, [ids[0]; 3]);
    let storage = whole(&tensors, "arg_0").storage().as_ptr_range();
    let file = file.as_ptr_range();
    assert!(file.start <= storage.start && storage.end <= file.end, "the elements were copied");
}

#[test]
fn the_marks_of_conjugate_and_negative_views_are_kept() {
    assert!(whole(&load("conj"), "arg_0").flags().conj);
    assert!(whole(&load("neg"), "arg_0").flags().neg);
}

#[test]
fn a_tensor_without_elements_still_tells_dtype_and_shape() {
    for (file, shape, reason) in [
        ("meta", [2, 3], "a tensor on the device `meta`"),
        ("sparse", [3, 3], "a sparse tensor, `torch.sparse_coo`"),
        ("sparse_csr", [3, 4], "a sparse tensor, `torch.sparse_csr`"),
    ] {
        match load(file).get("arg_0") {
            Some(LoadedTensor::WithoutElements { dtype: DType::Float32, shape: found, reason: why }) => {
                assert_eq!((found.as_slice(), why.as_str()), (shape.as_slice(), reason))
            }
            other => panic!("{file}: {other:?}"),
        }
    }
}

#[test]
fn a_file_of_something_else_says_what_it_is() {
    for (file, kind, reason) in [
        ("subclass", "refused: ", "`zoo_mod.MyTensor`"),
        ("given_up", "cut short: ", "there is no data.pkl"),
        ("legacy", "unsupported: ", "torch before 1.6"),
        ("torchscript", "unsupported: ", "TorchScript"),
        ("bare_tensor", "unsupported: ", "the file holds a tensor, not a dict"),
        ("not_a_tensor", "unsupported: ", "tensor `n` is an int"),
    ] {
        check_refused(read(file), kind, reason);
    }
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    check_refused(tar, "unsupported: ", "tar");
    check_refused(Vec::new(), "cut short: ", "empty");
    check_refused(b"{\"a\": 1}".to_vec(), "not a torch.save file: ", "`{\"a\": 1}`");
}
