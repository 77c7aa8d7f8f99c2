use std::io::{self, Write};

use callbox_core::{
    Bytes, DType, Flags, FormatError, LoadedTensor, TensorBuf, TensorGroup, TensorMap, TensorSerializer,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::strategies;

/// Checks what every file format must do.
///
/// # Panics
///
/// Where the format breaks a promise of its port.
pub fn serializer(format: &dyn TensorSerializer) {
    assert!(!format.format().name.is_empty() && !format.format().extension.starts_with('.'));
    an_empty_group_is_a_file(format);
    what_is_written_is_read_back(format);
    what_is_encoded_was_planned(format);
    a_small_file_is_one_write_and_a_large_one_few(format);
    other_bytes_are_refused(format);
}

/// Encodes, and holds the plan to what came of it.
fn encode(format: &dyn TensorSerializer, tensors: &[(String, TensorBuf)]) -> Result<Bytes, FormatError> {
    let tensors = tensors.iter().map(|(key, tensor)| (key.as_str(), tensor.as_view())).collect();
    let group = TensorGroup { stem: "inputs", tensors };
    let plan = format.plan(&group);
    let mut file = Vec::new();
    match format.encode(&group, &mut file) {
        Ok(()) => {
            let plan = plan.expect("what can be encoded can be planned");
            assert_eq!(plan.format, format.format());
            assert_eq!(plan.bytes, file.len() as u64, "a plan tells the exact size");
            Ok(Bytes::from(file))
        }
        Err(error) => {
            let planned = plan.expect_err("a plan fails where encoding fails").to_string();
            assert_eq!(planned, error.to_string());
            Err(error)
        }
    }
}

fn an_empty_group_is_a_file(format: &dyn TensorSerializer) {
    let file = encode(format, &[]).expect("an empty group can be written");
    assert!(format.decode(file).expect("and read").is_empty());
}

fn what_is_written_is_read_back(format: &dyn TensorSerializer) {
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(200) });
    let groups = prop::collection::btree_map("[a-zü_0-9]{1,12}", strategies::tensor(), 0..4);
    let outcome = runner.run(&groups, |tensors| {
        let tensors: Vec<_> = tensors.into_iter().collect();
        let file = match encode(format, &tensors) {
            Ok(file) => file,
            // A format may lack a dtype; then it says which tensor it is.
            Err(FormatError::CannotHold { key, .. }) => {
                prop_assert!(tensors.iter().any(|(known, _)| *known == key));
                return Ok(());
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        prop_assert!(format.recognise(&file[..file.len().min(512)]).is_ok());
        let read = format.decode(file).map_err(|error| TestCaseError::fail(error.to_string()))?;
        for (key, written) in &tensors {
            same(format, &read, key, written)?;
        }
        Ok(())
    });
    outcome.expect("what is written is read back");
}

fn what_is_encoded_was_planned(format: &dyn TensorSerializer) {
    let marks = [
        Flags { requires_grad: true, ..Flags::default() },
        Flags { conj: true, ..Flags::default() },
        Flags { neg: true, ..Flags::default() },
    ];
    for (dtype, flags) in DType::all().flat_map(|dtype| marks.map(|flags| (dtype, flags))) {
        let tensor = TensorBuf::from_elements(dtype, &[1], vec![0; dtype.item_size()]);
        let tensor = tensor.expect("one element").with_flags(flags);
        if let Ok(file) = encode(format, &[("key".to_owned(), tensor)]) {
            format.decode(file).unwrap_or_else(|error| panic!("{dtype}, {flags:?}: {error}"));
        }
    }
    let tensor = TensorBuf::from_elements(DType::UInt8, &[2, 0], Vec::new()).expect("no element");
    for count in [1, 2, 70, 300] {
        let named = |place: usize| (format!("{place}{}", "é".repeat(place)), tensor.clone());
        let tensors: Vec<_> = (0..count).map(named).collect();
        let file = encode(format, &tensors).expect("bytes can be written");
        assert_eq!(format.decode(file).expect("and read").len(), count);
    }
    let twice = ["key"; 2].map(|key| (key.to_owned(), tensor.clone()));
    encode(format, &twice).expect_err("two tensors of one key would be one");
}

/// Notes the sizes of writes.
#[derive(Debug, Default)]
struct Writes(Vec<usize>);

impl Write for Writes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A write is a system call where the file has no buffer of its own.
fn a_small_file_is_one_write_and_a_large_one_few(format: &dyn TensorSerializer) {
    for (len, most) in [(0, 1), (1 << 10, 1), (1 << 20, 4)] {
        let tensor =
            TensorBuf::from_elements(DType::UInt8, &[len], vec![1; len]).expect("one byte an element");
        let group = TensorGroup { stem: "inputs", tensors: vec![("key", tensor.as_view())] };
        let mut writes = Writes::default();
        format.encode(&group, &mut writes).expect("bytes can be written");
        assert!(writes.0.len() <= most, "{len} bytes in writes of {:?}", writes.0);
    }
}

fn same(
    format: &dyn TensorSerializer,
    read: &TensorMap,
    key: &str,
    written: &TensorBuf,
) -> Result<(), TestCaseError> {
    let Some(LoadedTensor::Whole(tensor)) = read.get(key) else {
        return Err(TestCaseError::fail(format!("`{key}` is not there")));
    };
    prop_assert_eq!(tensor.dtype(), written.dtype());
    prop_assert_eq!(tensor.shape(), written.shape());
    prop_assert_eq!(tensor.to_bytes(), written.to_bytes());
    if format.format().keeps_layout {
        prop_assert_eq!(tensor.layout(), written.layout());
    }
    Ok(())
}

fn other_bytes_are_refused(format: &dyn TensorSerializer) {
    assert!(format.recognise(&[0; 512]).is_err(), "zeros are no file of tensors");
    for bytes in [&b""[..], b"not a file of tensors", &[0; 64], &[0xff; 64]] {
        assert!(format.decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
    }
    let tensor = TensorBuf::from_f32(DType::Float32, &[4], &[1.0; 4]).expect("four values for four elements");
    let file = encode(format, &[("key".to_owned(), tensor)]).expect("f32 can be written");
    for len in 0..file.len() {
        assert!(format.decode(file.slice(..len)).is_err(), "cut to {len} of {} bytes", file.len());
    }
}
