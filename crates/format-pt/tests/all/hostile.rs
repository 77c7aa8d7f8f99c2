//! The table of hostile files, and strange ones that are read all the same.

use std::io::{Cursor, Write};

use callbox_core::error::chain;
use callbox_core::{DType, Flags, LoadedTensor};
use callbox_testkit::hostile::forge::pickle::{
    call, dict, float_storage, int, ints, name, ordered_dict, storage, tensor, text, yes_or_no,
};
use callbox_testkit::hostile::forge::{Forgery, archive};
use callbox_testkit::hostile::{Case, Expected, Kind, Refusal, of_kind};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::reading::{check_refused, decode};

fn check(case: Case) {
    let name = case.name;
    match (decode(case.bytes), case.expected) {
        (Err(error), Expected::Refused(refusal, says)) => {
            let message = chain(&error);
            assert_eq!(Refusal::of_format(&error), refusal, "{name}: {message}");
            assert!(message.contains(&says), "{name}: nothing of `{says}` in {message}");
        }
        (Ok(tensors), Expected::Read) => assert_eq!(tensors.unchecked(), [""; 0], "{name}"),
        (Ok(tensors), Expected::Noted(says)) => {
            let part = format!("`{}`", tensors.unchecked().join(", "));
            assert!(says.contains(&part), "{name}: {part}");
        }
        (found, expected) => panic!("{name}: {found:?} where {expected:?} was expected"),
    }
}

/// Checks the cases whose names begin with one of these.
#[track_caller]
fn check_named(beginnings: &[&str]) {
    let is_named = |case: &Case| beginnings.iter().any(|beginning| case.name.starts_with(beginning));
    let cases: Vec<_> = of_kind(Kind::Pt).filter(is_named).collect();
    assert!(!cases.is_empty(), "no case is called {beginnings:?}");
    cases.into_iter().for_each(check);
}

#[test]
fn every_hostile_file_is_refused_with_its_own_error() {
    of_kind(Kind::Pt).for_each(check);
}

#[test]
fn u52_names_of_code_are_refused_and_nothing_is_run() {
    check_named(&["global_", "stack_global_", "call_of_", "instruction_", "foreign_class_"]);
}

#[test]
fn u53_a_compressed_entry_is_not_inflated() {
    check_named(&["deflate_"]);
}

#[test]
fn entries_do_not_overlap() {
    check_named(&["overlap_"]);
}

#[test]
fn a_storage_is_as_long_as_it_says() {
    check_named(&["storage_"]);
}

#[test]
fn u54_a_tensor_of_petabytes_stays_a_view() {
    let pickle = dict(&[
        ("expanded", tensor(float_storage(), 0, &[1 << 50, 2], &[0, 1])),
        ("empty", tensor(float_storage(), 0, &[0, 1 << 62, 1 << 62], &[1, 1, 1])),
    ]);
    let tensors = decode(archive(&pickle, &[&[7; 16]])).unwrap();
    let numel = |key| match tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => (tensor.numel(), tensor.check_expansion().is_ok()),
        other => panic!("{other:?}"),
    };
    assert_eq!(numel("expanded"), (1 << 51, false));
    assert_eq!(numel("empty"), (0, true));
}

fn pickle() -> Vec<u8> {
    dict(&[("a", tensor(float_storage(), 0, &[4], &[1]))])
}

#[test]
fn a_plain_archive_of_an_older_torch_is_read() {
    for file in [
        archive(&pickle(), &[&[7; 16]]),
        Forgery::honest().bytes(),
        // No `version` at all, and 64-bit sizes where 32 bits would do.
        {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            let large =
                SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
            for (name, data) in [("x/data.pkl", pickle().as_slice()), ("x/data/0", &[7; 16])] {
                zip.start_file(name, large).unwrap();
                zip.write_all(data).unwrap();
            }
            zip.finish().unwrap().into_inner()
        },
    ] {
        match decode(file).unwrap().get("a") {
            Some(LoadedTensor::Whole(tensor)) => assert_eq!(tensor.to_bytes(), [7; 16]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn two_dtypes_over_one_storage_are_both_read() {
    let pickle = dict(&[
        ("floats", tensor(float_storage(), 1, &[3], &[1])),
        ("halves", tensor(storage("HalfStorage", "0", 8), 3, &[5], &[1])),
    ]);
    let tensors = decode(archive(&pickle, &[&[7; 16]])).unwrap();
    for (key, dtype) in [("floats", DType::Float32), ("halves", DType::Float16)] {
        match tensors.get(key) {
            Some(LoadedTensor::Whole(tensor)) => assert_eq!(tensor.dtype(), dtype),
            other => panic!("{other:?}"),
        }
    }
}

/// Arguments of a good tensor, of which the tests bend one.
fn arguments() -> Vec<Vec<u8>> {
    vec![float_storage(), int(0), ints(&[4]), ints(&[1]), yes_or_no(false), ordered_dict()]
}

#[test]
fn a_dtype_without_a_sign_is_no_negative() {
    for (dtype, refused) in [("float8_e8m0fnu", true), ("float4_e2m1fn_x2", true), ("float8_e4m3fn", false)] {
        let marks = [b"}".to_vec(), text("neg"), yes_or_no(true), b"s".to_vec()].concat();
        let mut arguments = arguments();
        arguments[0] = storage("UntypedStorage", "0", 16);
        arguments.extend([name("torch", dtype), marks]);
        if refused {
            let reason = format!("is torch.{dtype} and marked as a negative");
            let pickle = dict(&[("a", call(name("torch._utils", "_rebuild_tensor_v3"), &arguments))]);
            check_refused(archive(&pickle, &[&[7; 16]]), "inconsistent: ", &reason);
        } else {
            let pickle = dict(&[("a", call(name("torch._utils", "_rebuild_tensor_v3"), &arguments))]);
            assert!(decode(archive(&pickle, &[&[7; 16]])).is_ok(), "{dtype}");
        }
    }
}

#[test]
fn a_parameter_keeps_the_marks_of_its_tensor() {
    let marks = [b"}".to_vec(), text("neg"), yes_or_no(true), b"s".to_vec()].concat();
    let negative = call(name("torch._utils", "_rebuild_tensor_v2"), &[arguments(), vec![marks]].concat());
    let parameter = [negative, yes_or_no(true), ordered_dict()];
    let pickle = dict(&[("a", call(name("torch._utils", "_rebuild_parameter"), &parameter))]);
    match decode(archive(&pickle, &[&[7; 16]])).unwrap().get("a") {
        Some(LoadedTensor::Whole(tensor)) => {
            assert_eq!(tensor.flags(), Flags { requires_grad: true, conj: false, neg: true });
        }
        other => panic!("{other:?}"),
    }
}
