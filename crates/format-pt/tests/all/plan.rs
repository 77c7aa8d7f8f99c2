//! A plan tells beforehand what encoding will do.

use std::io::{self, Write};

use callbox_core::{
    Bytes, DType, FilePlan, FormatError, Layout, Quoted, StorageBytes, StorageId, StorageView, TensorBuf,
    TensorGroup, TensorSerializer, TensorView,
};
use callbox_format_pt::PtSerializer;
use callbox_testkit::{DeviceContents, FakeDeviceMemory};
use proptest::prelude::*;

use crate::reading::decode;
use crate::round_trip::{encode, groups};

fn plan(group: &TensorGroup<'_>) -> FilePlan {
    PtSerializer.plan(group).unwrap()
}

proptest! {
    #[test]
    fn a_plan_has_the_size_of_the_file(tensors in groups(), stem in "[a-z]{1,70}", key in "\\PC{0,90}") {
        let keys: Vec<_> = (0..tensors.len()).map(|place| format!("{key}{place}")).collect();
        let views = keys.iter().map(String::as_str).zip(tensors.iter().map(TensorBuf::as_view));
        let group = TensorGroup { stem: &stem, tensors: views.collect() };
        prop_assert_eq!(plan(&group).bytes, encode(&group).len() as u64);
        prop_assert_eq!(plan(&group).remarks, []);
    }
}

#[test]
fn the_number_of_tensors_moves_every_border_and_the_plan_with_it() {
    let shared = TensorBuf::from_elements(DType::Float32, &[3], vec![1; 12]).unwrap();
    let own: Vec<_> = (0..300)
        .map(|len| TensorBuf::from_elements(DType::UInt16, &[len], vec![2; 2 * len]).unwrap())
        .collect();
    let keys: Vec<_> = (0..300).map(|place| format!("kwarg_{place}")).collect();
    for count in (0..60).chain(250..260).chain(299..=300) {
        let tensors = (0..count).map(|place| {
            let tensor = if place % 3 == 0 { &shared } else { &own[place] };
            (keys[place].as_str(), tensor.as_view())
        });
        let group = TensorGroup { stem: "inputs", tensors: tensors.collect() };
        assert_eq!(plan(&group).bytes, encode(&group).len() as u64, "{count} tensors");
    }
}

/// Counts bytes and keeps none.
#[derive(Debug, Default)]
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn entries_beyond_4_gib_take_the_wide_form_in_plan_and_file_alike() {
    // In front of the first storage stand some 900 bytes: it ends on this side of the border, or on that.
    for len in [(1 << 32) - 2_000, (1 << 32) - 1_000, 1 << 32] {
        let memory = FakeDeviceMemory::new(len, DeviceContents::Blank);
        let small = TensorBuf::from_elements(DType::Bool, &[3], vec![1; 3]).unwrap();
        let large = TensorView {
            dtype: DType::UInt8,
            layout: Layout::contiguous(&[len]).unwrap(),
            storage: StorageView { id: StorageId::new(1), bytes: StorageBytes::Device(&memory) },
            ..small.as_view()
        };
        let group =
            TensorGroup { stem: "inputs", tensors: vec![("large", large), ("small", small.as_view())] };
        let mut count = Count::default();
        PtSerializer.encode(&group, &mut count).unwrap();
        assert_eq!(plan(&group).bytes, count.0, "{len}");
    }
}

#[test]
fn no_element_is_read_for_a_plan() {
    let memory = FakeDeviceMemory::new(3_000_000, DeviceContents::Lost);
    let layout = Layout::contiguous(&[10]).unwrap();
    let group = TensorGroup { stem: "inputs", tensors: vec![("a", memory.view(layout))] };
    let plan = plan(&group);
    assert!(plan.bytes > 3_000_000);
    assert_eq!(plan.remarks, []);
}

#[test]
fn a_storage_that_is_cut_is_remarked_on() {
    const LARGE: usize = (64 << 20) + 4;
    for (len, seen, is_cut) in
        [(64 << 20, 1, false), (LARGE, LARGE / 16 + 1, false), (LARGE, LARGE / 16, true), (LARGE, 1, true)]
    {
        let memory = FakeDeviceMemory::new(len, DeviceContents::Counting);
        let layout = Layout::new(&[seen], &[1], 7).unwrap();
        let group = TensorGroup { stem: "inputs", tensors: vec![("arg_0", memory.view(layout))] };
        let plan = plan(&group);
        assert_eq!(plan.bytes < len as u64, is_cut, "{seen} of {len}");
        assert_eq!(plan.remarks.len(), usize::from(is_cut), "{seen} of {len}");
        for remark in &plan.remarks {
            assert_eq!(remark.kind, "cut storage");
            let numbers = [Quoted(b"arg_0").to_string(), format!("{len} bytes"), format!("the {seen} ")];
            assert!(numbers.iter().all(|part| remark.text.contains(part)), "{}", remark.text);
        }
    }
}

#[test]
fn what_could_not_be_read_back_is_over_the_limit_for_plan_and_encoding() {
    let deep = TensorBuf::from_elements(DType::UInt8, &[1; 64], vec![1]).unwrap();
    let flat = TensorBuf::from_elements(DType::UInt8, &[1], vec![1]).unwrap();
    let keys: Vec<_> = (0..(1 << 14) + 1).map(|place| place.to_string()).collect();
    for (tensor, most) in [(&flat, 1 << 14), (&deep, 1 << 11)] {
        let tensors = keys.iter().map(|key| (key.as_str(), tensor.as_view()));
        let mut group = TensorGroup { stem: "inputs", tensors: tensors.take(most + 1).collect() };
        let errors = [
            PtSerializer.plan(&group).unwrap_err(),
            PtSerializer.encode(&group, &mut Vec::new()).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| matches!(error, FormatError::Limit(_))), "{errors:?}");
        group.tensors.pop();
        assert_eq!(decode(encode(&group)).unwrap().len(), most);
    }
}

#[test]
fn a_plan_fails_where_encoding_fails() {
    let quantized = TensorBuf::from_elements(DType::QInt8, &[3], vec![0; 3]).unwrap();
    let bytes =
        TensorBuf::new(DType::UInt8, Layout::contiguous(&[3]).unwrap(), Bytes::from(vec![0; 3])).unwrap();
    let mut too_large = bytes.as_view();
    too_large.layout = Layout::contiguous(&[4]).unwrap();
    for (stem, tensors) in [
        ("a/b", vec![("a", bytes.as_view())]),
        ("inputs", vec![("a", quantized.as_view())]),
        ("inputs", vec![("a", bytes.as_view()), ("a", bytes.as_view())]),
        ("inputs", vec![("a", too_large)]),
    ] {
        let group = TensorGroup { stem, tensors };
        let planned = PtSerializer.plan(&group).unwrap_err();
        let encoded = PtSerializer.encode(&group, &mut Vec::new()).unwrap_err();
        assert_eq!(planned.to_string(), encoded.to_string());
    }
}
