//! What is written comes back, and the safetensors crate would have written the same.

use std::io::{self, Write};

use callbox_core::{
    Bytes, DType, DTypeKind, FilePlan, Flags, FormatError, Layout, TensorBuf, TensorGroup, TensorSerializer,
    TensorView,
};
use callbox_format_safetensors::SafetensorsSerializer;
use proptest::prelude::*;
use safetensors::tensor::TensorView as Theirs;
use safetensors::{Dtype, SafeTensors};

use crate::{decode, encode, whole};

/// Every dtype that the format has.
fn dtypes() -> impl Strategy<Value = DType> {
    let lacks = |dtype: &DType| {
        dtype.kind() == DTypeKind::Quantized || [DType::Complex32, DType::Complex128].contains(dtype)
    };
    prop::sample::select(DType::all().filter(|dtype| !lacks(dtype)).collect::<Vec<_>>())
}

/// A tensor of at least one dimension with any layout and marks.
fn tensors() -> impl Strategy<Value = TensorBuf> {
    let dims = prop::collection::vec((0usize..5, 0usize..50), 1..4);
    (dtypes(), dims, 0usize..50, any::<[bool; 2]>()).prop_map(|(dtype, dims, offset, [conj, neg])| {
        let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
        let layout = Layout::new(&shape, &strides, offset).unwrap();
        let len = layout.end() * dtype.item_size();
        let bytes: Bytes = (0..len).map(|place| (place * 37 % 256) as u8).collect();
        let conj = conj && dtype.kind() == DTypeKind::Complex;
        let is_signed = dtype.kind() == DTypeKind::Float && dtype != DType::Float8E8M0Fnu;
        let neg = neg && (is_signed || dtype.kind() == DTypeKind::Complex);
        TensorBuf::new(dtype, layout, bytes).unwrap().with_flags(Flags { conj, neg, ..Flags::default() })
    })
}

proptest! {
    #[test]
    fn logical_elements_come_back_row_major(tensors in prop::collection::vec(tensors(), 0..6)) {
        let keys: Vec<_> = (0..tensors.len()).map(|number| format!("arg_{number} ü\"")).collect();
        let views = keys.iter().map(String::as_str).zip(tensors.iter().map(TensorBuf::as_view));
        let group = TensorGroup { stem: "inputs", tensors: views.collect() };
        let file = encode(&group);
        let format = SafetensorsSerializer.format();
        let plan = FilePlan { format, bytes: file.len() as u64, hash: None, remarks: Vec::new() };
        prop_assert_eq!(SafetensorsSerializer.plan(&group).unwrap(), plan);

        let loaded = decode(file.clone()).unwrap();
        prop_assert_eq!(loaded.len(), tensors.len());
        for (key, tensor) in keys.iter().zip(&tensors) {
            let read = whole(&loaded, key);
            prop_assert_eq!(read.dtype(), tensor.dtype());
            prop_assert_eq!(read.shape(), tensor.shape());
            prop_assert!(read.layout().is_contiguous());
            prop_assert_eq!(read.flags(), Flags::default());
            prop_assert_eq!(read.storage(), tensor.to_bytes());
        }

        let theirs = SafeTensors::deserialize(&file).unwrap();
        let again: Vec<(String, Theirs<'_>)> = theirs.tensors();
        prop_assert!(safetensors::serialize(again, None).unwrap() == file);
    }
}

#[test]
fn tensors_are_aligned_by_their_order() {
    let bytes = TensorBuf::from_elements(DType::UInt8, &[3], vec![1; 3]).unwrap();
    let doubles = TensorBuf::from_elements(DType::Float64, &[1], vec![2; 8]).unwrap();
    let group = TensorGroup {
        stem: "inputs",
        tensors: vec![("a", bytes.as_view()), ("c", doubles.as_view()), ("b", doubles.as_view())],
    };
    let file = encode(&group);
    let header_len = usize::from(file[0]);
    let header = std::str::from_utf8(&file[8..8 + header_len]).unwrap();
    assert_eq!(
        header.trim_end(),
        r#"{"b":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"c":{"dtype":"F64","shape":[1],"data_offsets":[8,16]},"a":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}}"#
    );
    assert_eq!(header_len % 8, 0);
    assert_eq!(file.len(), 8 + header_len + 19);
}

#[test]
fn u49_tensors_that_share_memory_are_written_once_each() {
    let floats = TensorBuf::from_f32(DType::Float32, &[2, 3], &[0., 1., 2., 3., 4., 5.]).unwrap();
    let overlapping = floats.with_layout(Layout::new(&[4], &[1], 1).unwrap()).unwrap();
    let transposed = floats.with_layout(Layout::new(&[3, 2], &[1, 3], 0).unwrap()).unwrap();
    let aliases =
        [("same", &floats), ("again", &floats), ("overlapping", &overlapping), ("transposed", &transposed)];
    let tensors = aliases.map(|(key, tensor)| (key, tensor.as_view()));
    let loaded = decode(encode(&TensorGroup { stem: "inputs", tensors: tensors.to_vec() })).unwrap();
    for (key, tensor) in aliases {
        let read = whole(&loaded, key);
        assert_eq!(read.shape(), tensor.shape());
        assert_eq!(read.to_f32().unwrap(), tensor.to_f32().unwrap(), "{key}");
    }
}

#[test]
fn a_plan_has_the_size_of_the_file_for_any_number_of_tensors_and_any_keys() {
    let numbers = TensorBuf::from_elements(DType::UInt16, &[3], vec![1; 6]).unwrap();
    for count in (0..40).chain([300]) {
        let keys: Vec<_> = (0..count).map(|place| format!("{place}\n\"{}", "ü".repeat(7 * place))).collect();
        let tensors = keys.iter().map(|key| (key.as_str(), numbers.as_view()));
        let group = TensorGroup { stem: "inputs", tensors: tensors.collect() };
        let plan = SafetensorsSerializer.plan(&group).unwrap();
        assert_eq!(plan.bytes, encode(&group).len() as u64, "{count} tensors");
    }
}

#[test]
fn packed_numbers_are_counted_one_by_one() {
    let packed = TensorBuf::from_elements(DType::Float4E2M1FnX2, &[3, 4], vec![1; 12]).unwrap();
    let file = encode(&TensorGroup { stem: "inputs", tensors: vec![("a", packed.as_view())] });
    let theirs = SafeTensors::deserialize(&file).unwrap();
    let theirs = theirs.tensor("a").unwrap();
    assert_eq!((theirs.dtype(), theirs.shape()), (Dtype::F4, [3, 8].as_slice()));
    assert_eq!(whole(&decode(file.clone()).unwrap(), "a").shape(), [3, 4]);
}

#[track_caller]
fn encode_error(tensors: Vec<(&str, TensorView<'_>)>) -> FormatError {
    let group = TensorGroup { stem: "inputs", tensors };
    let mut out = Vec::new();
    let error = SafetensorsSerializer.encode(&group, &mut out).unwrap_err();
    assert!(out.is_empty(), "something was written before the error");
    assert_eq!(SafetensorsSerializer.plan(&group).unwrap_err().to_string(), error.to_string());
    error
}

#[test]
fn what_the_format_cannot_hold_is_refused_before_anything_is_written() {
    let bytes = TensorBuf::from_elements(DType::UInt8, &[3], vec![0; 3]).unwrap();
    let expanded = bytes.with_layout(Layout::new(&[1 << 40], &[0], 0).unwrap()).unwrap();
    let packed = TensorBuf::from_elements(DType::Float4E2M1FnX2, &[], vec![0]).unwrap();
    let negative = bytes.clone().with_flags(Flags { neg: true, ..Flags::default() });
    let conjugate = bytes.clone().with_flags(Flags { conj: true, ..Flags::default() });
    let complex = TensorBuf::from_elements(DType::Complex128, &[1], vec![0; 16]).unwrap();
    for (tensors, reason) in [
        (vec![("a", bytes.as_view()), ("a", bytes.as_view())], "the same key"),
        (vec![("a", expanded.as_view())], "1099511627776 elements over a storage of 3"),
        (vec![("a", packed.as_view())], "the tensor has none"),
        (vec![("a", negative.as_view())], "is torch.uint8 and marked as a negative"),
        (vec![("a", conjugate.as_view())], "is torch.uint8 and marked as a conjugate"),
        (vec![("__metadata__", bytes.as_view())], "another use for this name"),
        (vec![("a", complex.as_view())], "no dtype like torch.complex128"),
    ] {
        let error = encode_error(tensors);
        assert!(matches!(error, FormatError::CannotHold { .. }), "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
    let mut too_large = bytes.as_view();
    too_large.layout = Layout::contiguous(&[4]).unwrap();
    assert!(matches!(encode_error(vec![("a", too_large)]), FormatError::Tensor { .. }));
}

/// A file that says more than an address holds is one that no reader takes, though it has no element.
#[test]
fn huge_sizes_around_a_zero_are_refused_when_they_are_written() {
    let bytes = TensorBuf::from_elements(DType::UInt8, &[3], vec![0; 3]).unwrap();
    let huge = [1 << 60, 0, 1 << 10];
    let empty = bytes.with_layout(Layout::new(&huge, &[1, 1, 1], 0).unwrap()).unwrap();
    let error = encode_error(vec![("a", empty.as_view())]);
    assert!(matches!(error, FormatError::CannotHold { .. }), "{error}");
    assert!(error.to_string().contains("overflow"), "{error}");
}

/// A disk without room.
#[derive(Debug)]
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_writing_with_its_reason() {
    for len in [3, 100_000] {
        let bytes = TensorBuf::from_elements(DType::UInt8, &[len], vec![0; len]).unwrap();
        let group = TensorGroup { stem: "inputs", tensors: vec![("a", bytes.as_view())] };
        let error = SafetensorsSerializer.encode(&group, &mut Full).unwrap_err();
        assert!(matches!(error, FormatError::Write(_)), "{error}");
    }
}
