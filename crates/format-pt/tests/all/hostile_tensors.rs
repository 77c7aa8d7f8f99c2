//! Tensors that do not fit their storage, or that no computer could hold.

use callbox_core::{DType, Flags, LoadedTensor};

use crate::forge::value::{
    call, dict, int, ints, name, ordered_dict, program, storage, tensor, text, tuple, yes_or_no,
};
use crate::forge::{archive, check_refused, decode};

const HUGE: i64 = 1 << 62;

fn float_storage() -> Vec<u8> {
    storage("FloatStorage", "0", 4)
}

/// Checks that a tensor over a storage of four float32 is refused.
#[track_caller]
fn check(offset: i64, size: &[i64], stride: &[i64], kind: &str, reason: &str) {
    let pickle = dict(&[("a", tensor(float_storage(), offset, size, stride))]);
    check_refused(archive(&pickle, &[&[7; 16]]), kind, reason);
}

#[test]
fn a_tensor_stays_inside_its_storage() {
    for (offset, size, stride) in [
        (0, [5].as_slice(), [1].as_slice()),
        (1, &[4], &[1]),
        (0, &[2], &[4]),
        (4, &[], &[]),
        (0, &[2, 2], &[3, 1]),
    ] {
        check(offset, size, stride, "tensor `a`: reaches element", "of a storage of 4");
    }
}

#[test]
fn an_empty_tensor_may_begin_anywhere() {
    // A slice of an empty tensor, as torch writes it.
    let pickle = dict(&[("empty", tensor(float_storage(), 8, &[2, 0, 8], &[8, 8, 1]))]);
    assert!(decode(archive(&pickle, &[&[7; 16]])).is_ok());
}

#[test]
fn sizes_neither_overflow_nor_go_below_zero() {
    for (offset, size, stride) in
        [(0, [-1].as_slice(), [1].as_slice()), (0, &[2], &[-1]), (-1, &[2], &[1]), (i64::MIN, &[2], &[1])]
    {
        check(offset, size, stride, "inconsistent: tensor `a` has", "for a size, stride or offset");
    }
    for (offset, size, stride) in
        [(0, [HUGE, 8].as_slice(), [0, 0].as_slice()), (0, &[4], &[i64::MAX]), (i64::MAX, &[3], &[i64::MAX])]
    {
        check(offset, size, stride, "tensor `a`: sizes", "overflow the address space");
    }
    check(0, &[2, 2], &[1], "tensor `a`: 2 sizes but 1 strides", "");
    check(0, &[1; 65], &[1; 65], "inconsistent: ", "has 65 dimensions");
}

#[test]
fn a_tensor_of_petabytes_stays_a_view() {
    let pickle = dict(&[
        ("expanded", tensor(float_storage(), 0, &[1 << 50, 2], &[0, 1])),
        ("empty", tensor(float_storage(), 0, &[0, HUGE, HUGE], &[1, 1, 1])),
    ]);
    let tensors = decode(archive(&pickle, &[&[7; 16]])).unwrap();
    let numel = |key| match tensors.get(key) {
        Some(LoadedTensor::Whole(tensor)) => (tensor.numel(), tensor.check_expansion().is_ok()),
        other => panic!("{other:?}"),
    };
    assert_eq!(numel("expanded"), (1 << 51, false));
    assert_eq!(numel("empty"), (0, true));
}

#[test]
fn a_storage_is_as_long_as_it_says() {
    for (class, count, len) in [
        ("FloatStorage", 4, 15),
        ("FloatStorage", 4, 17),
        ("FloatStorage", 5, 16),
        ("FloatStorage", 16, 16),
        ("DoubleStorage", 4, 16),
        ("FloatStorage", -4, 16),
        ("FloatStorage", HUGE, 16),
        ("UntypedStorage", 4, 16),
    ] {
        let pickle = dict(&[("a", tensor(storage(class, "0", count), 0, &[1], &[1]))]);
        check_refused(
            archive(&pickle, &[&vec![7; len]]),
            "inconsistent: tensor `a` lies in a storage of",
            "",
        );
    }
    let pickle = dict(&[("a", tensor(storage("FloatStorage", "7", 4), 0, &[1], &[1]))]);
    check_refused(archive(&pickle, &[&[7; 16]]), "inconsistent: ", "storage `7`, which the file lacks");
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

#[track_caller]
fn check_call(function: &str, arguments: &[Vec<u8>], kind: &str, reason: &str) {
    let pickle = dict(&[("a", call(name("torch._utils", function), arguments))]);
    check_refused(archive(&pickle, &[&[7; 16]]), kind, reason);
}

#[test]
fn every_argument_is_of_its_kind() {
    for (place, item, reason) in [
        (0, int(0), "has no storage"),
        (1, text("0"), "has a str for a size, stride or offset"),
        (2, int(4), "has an int for its sizes"),
        (2, tuple(&[yes_or_no(true)]), "has a bool for a size, stride or offset"),
        (3, b"]".to_vec(), "has a list for its sizes"),
        (4, int(1), "has an int for a yes or no"),
    ] {
        let mut bent = arguments();
        bent[place] = item;
        check_call("_rebuild_tensor_v2", &bent, "inconsistent: tensor `a` ", reason);
    }
    let other_parts = "is built from other parts than torch gives it";
    check_call("_rebuild_tensor_v2", &arguments()[..5], "inconsistent: ", other_parts);
    check_call("_rebuild_tensor_v3", &arguments(), "inconsistent: ", other_parts);
    check_call("_rebuild_qtensor", &arguments(), "inconsistent: ", other_parts);
    check_call("_rebuild_parameter", &[], "inconsistent: ", other_parts);
    check_call("_rebuild_meta_tensor_no_storage", &[int(1)], "inconsistent: ", other_parts);
    check_call("_rebuild_sparse_tensor", &[text("torch.sparse_coo"), tuple(&[])], "inconsistent: ", "sparse");
}

#[test]
fn marks_are_those_that_torch_knows_on_dtypes_that_can_have_them() {
    let marked = |mark: &str| {
        let dict = [b"}".to_vec(), text(mark), yes_or_no(true), b"s".to_vec()].concat();
        [arguments(), vec![dict]].concat()
    };
    let neg = dict(&[("a", call(name("torch._utils", "_rebuild_tensor_v2"), &marked("neg")))]);
    assert!(decode(archive(&neg, &[&[7; 16]])).is_ok());
    check_call("_rebuild_tensor_v2", &marked("zero"), "unsupported: ", "has the mark `zero`");
    let conj = "is torch.float32 and marked as a conjugate";
    check_call("_rebuild_tensor_v2", &marked("conj"), "inconsistent: ", conj);
    for (class, count, dtype) in [
        ("LongStorage", 2, "int64"),
        ("IntStorage", 4, "int32"),
        ("ByteStorage", 16, "uint8"),
        ("BoolStorage", 16, "bool"),
        ("QInt8Storage", 16, "qint8"),
    ] {
        for (mark, meaning) in [("conj", "a conjugate"), ("neg", "a negative")] {
            let mut arguments = marked(mark);
            arguments[0] = storage(class, "0", count);
            let reason = format!("is torch.{dtype} and marked as {meaning}");
            check_call("_rebuild_tensor_v2", &arguments, "inconsistent: ", &reason);
        }
    }
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
            check_call("_rebuild_tensor_v3", &arguments, "inconsistent: ", &reason);
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

#[test]
fn a_value_that_is_no_tensor_is_named() {
    for (value, kind) in [
        (int(3), "an int"),
        (b"N".to_vec(), "None"),
        (text("x"), "a str"),
        (b"}".to_vec(), "a dict"),
        (b"]".to_vec(), "a list"),
        (float_storage(), "a storage"),
        (name("torch", "float16"), "a class or function"),
        ([b"G".as_slice(), &[0; 8]].concat(), "a float"),
    ] {
        let pickle = dict(&[("a", value)]);
        let reason = format!("tensor `a` is {kind}, not a tensor");
        check_refused(archive(&pickle, &[&[7; 16]]), "unsupported: ", &reason);
    }
    check_refused(
        archive(&program(b"N"), &[]),
        "unsupported: ",
        "the file holds None, not a dict of tensors",
    );
}
