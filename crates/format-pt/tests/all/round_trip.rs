//! What is written comes back, and other programs can read it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;

use callbox_core::{
    Bytes, DType, DTypeKind, Flags, FormatError, Layout, LoadedTensor, TensorBuf, TensorGroup, TensorMap,
    TensorSerializer, TensorView,
};
use callbox_format_pt::PtSerializer;
use callbox_testkit::{DeviceContents, FakeDeviceMemory};
use proptest::prelude::*;
use zip::ZipArchive;

use crate::reading::decode;

pub(crate) fn encode(group: &TensorGroup<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    PtSerializer.encode(group, &mut file).unwrap();
    file
}

pub(crate) fn whole<'a>(tensors: &'a TensorMap, key: &str) -> &'a TensorBuf {
    match tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => tensor,
        other => panic!("{key}: {other:?}"),
    }
}

fn writable() -> impl Iterator<Item = DType> {
    DType::all().filter(|dtype| dtype.kind() != DTypeKind::Quantized)
}

/// The dtypes on which torch can load the mark of gradients.
const GRADIENTS: [DType; 6] =
    [DType::Float64, DType::Float32, DType::Float16, DType::BFloat16, DType::Complex64, DType::Complex128];

fn layouts() -> impl Strategy<Value = Layout> {
    let dims = prop::collection::vec((0usize..5, 0usize..300), 0..5);
    (dims, 0usize..300).prop_map(|(dims, offset)| {
        let (shape, strides): (Vec<_>, Vec<_>) = dims.into_iter().unzip();
        Layout::new(&shape, &strides, offset).unwrap()
    })
}

fn flags() -> impl Strategy<Value = Flags> {
    any::<[bool; 3]>().prop_map(|[requires_grad, conj, neg]| Flags { requires_grad, conj, neg })
}

/// Storages with a dtype each, and the views that some tensors have of them.
pub(crate) fn groups() -> impl Strategy<Value = Vec<TensorBuf>> {
    let views = prop::collection::vec((layouts(), flags()), 1..4);
    let storages = (prop::sample::select(writable().collect::<Vec<_>>()), views, 0usize..9, any::<u8>())
        .prop_map(|(dtype, views, spare, seed)| {
            let reach = views.iter().map(|(layout, _)| layout.end()).max().unwrap_or(0);
            let len = (reach + spare) * dtype.item_size();
            let bytes: Bytes = (0..len).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let tensors = views.into_iter().map(|(layout, flags)| {
                let is_complex = dtype.kind() == DTypeKind::Complex;
                let is_float = dtype.kind() == DTypeKind::Float;
                let requires_grad = flags.requires_grad && GRADIENTS.contains(&dtype);
                let conj = flags.conj && is_complex;
                let neg = flags.neg && (is_complex || is_float && dtype != DType::Float8E8M0Fnu);
                let tensor = TensorBuf::new(dtype, layout, bytes.clone()).unwrap();
                tensor.with_flags(Flags { requires_grad, conj, neg })
            });
            tensors.collect::<Vec<_>>()
        });
    prop::collection::vec(storages, 0..4).prop_map(|storages| storages.concat())
}

proptest! {
    #[test]
    fn tensors_come_back_with_layout_flags_and_sharing(tensors in groups()) {
        let keys: Vec<_> = (0..tensors.len()).map(|i| format!("arg_{i}__ü")).collect();
        let views = keys.iter().map(String::as_str).zip(tensors.iter().map(TensorBuf::as_view));
        let file = encode(&TensorGroup { stem: "outputs", tensors: views.collect() });
        let loaded = decode(file).unwrap();

        prop_assert!(loaded.iter().map(|(key, _)| key).eq(keys.iter()));
        let mut ids = HashMap::new();
        for (key, tensor) in keys.iter().zip(&tensors) {
            let read = whole(&loaded, key);
            prop_assert_eq!(read.dtype(), tensor.dtype());
            prop_assert_eq!(read.layout(), tensor.layout());
            prop_assert_eq!(read.flags(), tensor.flags());
            prop_assert_eq!(read.storage(), tensor.storage());
            if !tensor.storage().is_empty() {
                let first = *ids.entry(tensor.storage_id()).or_insert(read.storage_id());
                prop_assert_eq!(first, read.storage_id());
            }
        }
        let distinct: HashSet<_> = ids.values().collect();
        prop_assert_eq!(distinct.len(), ids.len());
    }
}

#[test]
fn another_zip_reader_finds_torch_s_entries_aligned_and_undamaged() {
    let floats = TensorBuf::from_elements(DType::Float32, &[3], vec![1; 12]).unwrap();
    let bytes = TensorBuf::from_elements(DType::Float8E5M2, &[0], Vec::new()).unwrap();
    let group = TensorGroup {
        stem: "inputs",
        tensors: vec![("a", floats.as_view()), ("b", bytes.as_view()), ("c", floats.as_view())],
    };
    let mut zip = ZipArchive::new(Cursor::new(encode(&group))).unwrap();
    let mut names = Vec::new();
    for place in 0..zip.len() {
        let mut entry = zip.by_index(place).unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("the checksum fits");
        let name = entry.name().unwrap().into_owned();
        assert_eq!(entry.data_start().unwrap() % 64, 0, "{name}");
        names.push(name);
    }
    let expected = [
        "inputs/data.pkl",
        "inputs/.format_version",
        "inputs/.storage_alignment",
        "inputs/byteorder",
        "inputs/data/0",
        "inputs/data/1",
        "inputs/version",
        "inputs/.data/serialization_id",
    ];
    assert_eq!(names, expected);
}

/// Blanks the 40 digits that torch derives from a hash of its own, and their two checksums.
fn without_serialization_id(mut file: Vec<u8>) -> Vec<u8> {
    let name = b"inputs/.data/serialization_id";
    let places: Vec<usize> = (0..file.len()).filter(|&at| file[at..].starts_with(name)).collect();
    let [local, central] = places[..] else { panic!("the name stands at {places:?}") };
    let digits = (local + name.len() + 4).next_multiple_of(64);
    for blank in [digits..digits + 40, digits + 44..digits + 48, central - 30..central - 26] {
        file[blank].fill(0);
    }
    file
}

#[test]
fn a_file_written_again_is_torch_s_own_byte_for_byte() {
    for name in [
        "float8",
        "float4",
        "scalar",
        "empty",
        "transposed",
        "expanded",
        "shared",
        "requires_grad",
        "conj",
        "neg",
        "marks",
    ] {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        let theirs = fs::read(data.join(format!("{name}.pt"))).unwrap();
        let loaded = decode(theirs.clone()).unwrap();
        let tensors = loaded.iter().map(|(key, _)| (key, whole(&loaded, key).as_view())).collect();
        let ours = encode(&TensorGroup { stem: "inputs", tensors });
        assert!(without_serialization_id(ours) == without_serialization_id(theirs), "{name}");
    }
}

#[test]
fn the_mark_of_gradients_is_written_where_torch_can_load_it() {
    for dtype in writable() {
        let tensor = TensorBuf::from_elements(dtype, &[1], vec![1; dtype.item_size()]).unwrap();
        let tensor = tensor.with_flags(Flags { requires_grad: true, ..Flags::default() });
        let group = TensorGroup { stem: "inputs", tensors: vec![("a", tensor.as_view())] };
        let loaded = decode(encode(&group)).unwrap();
        let is_kept = whole(&loaded, "a").flags().requires_grad;
        assert_eq!(is_kept, GRADIENTS.contains(&dtype), "{dtype}");
    }
}

#[test]
fn equal_tensors_make_equal_files() {
    let file = |value| {
        let tensor = TensorBuf::from_elements(DType::UInt8, &[3], vec![value; 3]).unwrap();
        encode(&TensorGroup { stem: "inputs", tensors: vec![("a", tensor.as_view())] })
    };
    assert_eq!(file(1), file(1));
    assert_ne!(file(1), file(2));
}

#[test]
fn what_the_format_cannot_hold_is_refused_before_anything_is_written() {
    let encode_fails = |tensors: Vec<(&str, TensorView<'_>)>| {
        let group = TensorGroup { stem: "inputs", tensors };
        let mut out = Vec::new();
        let error = PtSerializer.encode(&group, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    };
    let bytes = TensorBuf::from_elements(DType::UInt8, &[3], vec![0; 3]).unwrap();
    let quantized = TensorBuf::from_elements(DType::QInt8, &[3], vec![0; 3]).unwrap();
    let far = Layout::new(&[1], &[1 << 63], 0).unwrap();
    let marked = |dtype: DType, flags| {
        let bytes = vec![0; dtype.item_size()];
        TensorBuf::from_elements(dtype, &[1], bytes).unwrap().with_flags(flags)
    };
    for tensors in [
        vec![("a", quantized.as_view())],
        vec![("a", bytes.as_view()), ("a", bytes.as_view())],
        vec![("a", bytes.with_layout(far).unwrap().as_view())],
        vec![("a", marked(DType::Int16, Flags { neg: true, ..Flags::default() }).as_view())],
        vec![("a", marked(DType::Float8E8M0Fnu, Flags { neg: true, ..Flags::default() }).as_view())],
        vec![("a", marked(DType::Float32, Flags { conj: true, ..Flags::default() }).as_view())],
    ] {
        let error = encode_fails(tensors);
        assert!(matches!(error, FormatError::CannotHold { .. }), "{error}");
    }
    let mut too_large = bytes.as_view();
    too_large.layout = Layout::contiguous(&[4]).unwrap();
    let error = encode_fails(vec![("a", too_large)]);
    assert!(matches!(error, FormatError::Tensor { .. }), "{error}");
}

/// Takes at most so many bytes at once, and notes the most it was given.
#[derive(Debug, Default)]
struct Sink {
    taken: usize,
    largest: usize,
    room: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.largest = self.largest.max(bytes.len());
        let part = bytes.len().min(self.room - self.taken);
        self.taken += part;
        if part == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn device_memory_is_streamed_through_a_small_buffer() {
    let memory = FakeDeviceMemory::new(3_000_000, DeviceContents::Counting);
    let layout = Layout::contiguous(&[10]).unwrap();
    let group = TensorGroup { stem: "inputs", tensors: vec![("a", memory.view(layout))] };
    let loaded = decode(encode(&group)).unwrap();
    let expected: Vec<u8> = (0..3_000_000).map(|place| (place % 251) as u8).collect();
    assert!(whole(&loaded, "a").storage() == expected);

    let mut sink = Sink { room: usize::MAX, ..Sink::default() };
    PtSerializer.encode(&group, &mut sink).unwrap();
    assert!(sink.largest <= 1 << 20, "{} bytes at once", sink.largest);
    let reads = memory.reads();
    assert!(reads.iter().all(|&(_, len)| len <= 1 << 20));
}

#[test]
fn a_small_view_of_a_large_storage_does_not_write_it() {
    const LARGE: usize = 1 << 40;
    let memory = FakeDeviceMemory::new(LARGE, DeviceContents::Counting);
    let rows = Layout::new(&[3, 4], &[100, 1], 5_000).unwrap();
    let behind = Layout::new(&[2], &[1], 5_203).unwrap();
    let empty = Layout::new(&[0], &[1], LARGE).unwrap();
    let group = TensorGroup {
        stem: "inputs",
        tensors: vec![
            ("rows", memory.view(rows.clone())),
            ("behind", memory.view(behind)),
            ("empty", memory.view(empty)),
        ],
    };
    let loaded = decode(encode(&group)).unwrap();
    assert_eq!(memory.reads(), [(5_000, 205)]);
    let read = whole(&loaded, "rows");
    assert_eq!(read.layout().strides(), rows.strides());
    assert_eq!(read.layout().offset(), 0);
    let expected: Vec<u8> = [5_000, 5_100, 5_200]
        .into_iter()
        .flat_map(|start: usize| (start..start + 4).map(|place| (place % 251) as u8))
        .collect();
    assert_eq!(read.to_bytes(), expected);
    assert_eq!(whole(&loaded, "behind").layout().offset(), 203);
    assert_eq!(whole(&loaded, "behind").storage_id(), read.storage_id());
    assert_eq!(whole(&loaded, "empty").numel(), 0);
}

#[test]
fn a_storage_of_moderate_size_is_written_whole_as_torch_does() {
    let memory = FakeDeviceMemory::new(1 << 20, DeviceContents::Counting);
    let layout = Layout::new(&[1], &[1], 77).unwrap();
    let group = TensorGroup { stem: "inputs", tensors: vec![("a", memory.view(layout))] };
    let loaded = decode(encode(&group)).unwrap();
    assert_eq!(whole(&loaded, "a").storage().len(), 1 << 20);
    assert_eq!(whole(&loaded, "a").layout().offset(), 77);
}

#[test]
fn one_storage_seen_as_two_dtypes_is_written_for_each() {
    let bytes = Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let view =
        |dtype, len| TensorBuf::new(dtype, Layout::contiguous(&[len]).unwrap(), bytes.clone()).unwrap();
    let (shorts, floats) = (view(DType::Int16, 4), view(DType::Float32, 2));
    let group = TensorGroup {
        stem: "inputs",
        tensors: vec![("shorts", shorts.as_view()), ("floats", floats.as_view())],
    };
    let loaded = decode(encode(&group)).unwrap();
    assert_eq!(whole(&loaded, "shorts").storage(), &bytes[..8]);
    assert_eq!(whole(&loaded, "floats").storage(), &bytes[..8]);
}

#[test]
fn a_full_disk_or_a_lost_device_ends_the_writing_with_its_reason() {
    let memory = FakeDeviceMemory::new(100_000, DeviceContents::Counting);
    let lost = FakeDeviceMemory::new(100, DeviceContents::Lost);
    fn group(memory: &FakeDeviceMemory) -> TensorGroup<'_> {
        let view = memory.view(Layout::contiguous(&[10]).unwrap());
        TensorGroup { stem: "inputs", tensors: vec![("a", view)] }
    }
    for room in [0, 1_000, 100_000] {
        let mut sink = Sink { room, ..Sink::default() };
        let error = PtSerializer.encode(&group(&memory), &mut sink).unwrap_err();
        assert!(matches!(error, FormatError::Write(_)), "{error}");
    }
    let error = PtSerializer.encode(&group(&lost), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, FormatError::Stage(_)), "{error}");
}

#[test]
fn the_root_folder_is_a_plain_name() {
    for stem in ["", ".", "..", "a/b", "a\\b"] {
        let group = TensorGroup { stem, tensors: Vec::new() };
        let error = PtSerializer.encode(&group, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, FormatError::Unsupported(_)), "{error}");
    }
}

#[test]
fn thousands_of_tensors_come_back_in_order() {
    let tensor = TensorBuf::from_elements(DType::Bool, &[1], vec![1]).unwrap();
    let keys: Vec<_> = (0..5_000).map(|i| format!("arg_{i}")).collect();
    let group = TensorGroup {
        stem: "inputs",
        tensors: keys.iter().map(|key| (key.as_str(), tensor.as_view())).collect(),
    };
    let loaded = decode(encode(&group)).unwrap();
    assert!(loaded.iter().map(|(key, _)| key).eq(keys.iter()));
}
