//! Tensors that do not fit their storage, or that no computer could hold.

use super::forge::archive;
use super::forge::pickle::{
    call, dict, float_storage, int, ints, name, ordered_dict, storage, tensor, text, tuple, yes_or_no,
};
use super::{Case, Kind, Refusal, read, refused};
use Refusal::{Inconsistent, Refused, Tensor, Unsupported};

const HUGE: i64 = 1 << 62;

pub(super) fn cases() -> Vec<Case> {
    [layouts(), storages(), arguments_of_other_kinds(), marks(), values()].concat()
}

/// A value as the tensor `a`, beside one storage of four float32.
fn pt(name: &str, value: Vec<u8>, refusal: Refusal, says: &str) -> Case {
    refused(Kind::Pt, name, archive(&dict(&[("a", value)]), &[&[7; 16]]), refusal, says)
}

fn layouts() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut over = |name: &str, offset, size: &[i64], stride: &[i64], refusal, says: &str| {
        cases.push(pt(name, tensor(float_storage(), offset, size, stride), refusal, says));
    };
    let reaches = "of a storage of 4 elements";
    over("reach_by_size", 0, &[5], &[1], Tensor, reaches);
    over("reach_by_offset", 1, &[4], &[1], Tensor, reaches);
    over("reach_by_stride", 0, &[2], &[4], Tensor, reaches);
    over("reach_of_a_scalar", 4, &[], &[], Tensor, reaches);
    over("reach_in_two_dims", 0, &[2, 2], &[3, 1], Tensor, reaches);
    let negative = "for a size, stride or offset";
    over("size_negative", 0, &[-1], &[1], Inconsistent, negative);
    over("stride_negative", 0, &[2], &[-1], Inconsistent, negative);
    over("offset_negative", -1, &[2], &[1], Inconsistent, negative);
    over("offset_lowest", i64::MIN, &[2], &[1], Inconsistent, negative);
    let overflow = "overflow the address space";
    over("product_overflow", 0, &[HUGE, 8], &[0, 0], Tensor, overflow);
    // 2^65 elements of stride 0: a product that wraps is zero, and reaches nothing.
    over("product_wraps_to_zero", 0, &[HUGE, 4, 2], &[0, 0, 0], Tensor, overflow);
    over("stride_overflow", 0, &[4], &[i64::MAX], Tensor, overflow);
    over("offset_overflow", i64::MAX, &[3], &[i64::MAX], Tensor, overflow);
    over("dim_of_2_62", 0, &[HUGE], &[1], Tensor, reaches);
    over("more_sizes_than_strides", 0, &[2, 2], &[1], Tensor, "2 sizes but 1 strides");
    over("dims_65", 0, &[1; 65], &[1; 65], Inconsistent, "has 65 dimensions");
    for (name, offset, size, stride) in [
        // These are views, and take no memory: whoever copies them out asks first.
        ("expanded_to_4_pib", 0, [1 << 50].as_slice(), [0].as_slice()),
        ("empty_beside_a_huge_dim", 0, &[0, HUGE, HUGE], &[1, 1, 1]),
        ("empty_behind_the_storage", 8, &[2, 0, 8], &[8, 8, 1]),
    ] {
        let pickle = dict(&[("a", tensor(float_storage(), offset, size, stride))]);
        cases.push(read(Kind::Pt, name, archive(&pickle, &[&[7; 16]])));
    }
    cases
}

fn storages() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, class, count, len) in [
        ("one_byte_less", "FloatStorage", 4, 15),
        ("one_byte_more", "FloatStorage", 4, 17),
        ("numel_above_entry", "FloatStorage", 5, 16),
        ("numel_in_bytes", "FloatStorage", 16, 16),
        ("numel_below_entry", "FloatStorage", 3, 16),
        ("item_size", "DoubleStorage", 4, 16),
        ("numel_negative", "FloatStorage", -4, 16),
        ("numel_2_62", "FloatStorage", HUGE, 16),
        ("numel_untyped", "UntypedStorage", 4, 16),
    ] {
        let pickle = dict(&[("a", tensor(storage(class, "0", count), 0, &[1], &[1]))]);
        let file = archive(&pickle, &[&vec![7; len]]);
        let says = "tensor `a` lies in a storage of";
        cases.push(refused(Kind::Pt, &format!("storage_{what}"), file, Inconsistent, says));
    }
    let elsewhere = tensor(storage("FloatStorage", "7", 4), 0, &[1], &[1]);
    cases.push(pt("storage_elsewhere", elsewhere, Inconsistent, "storage `7`, which the file lacks"));
    let two_dtypes = dict(&[
        ("floats", tensor(float_storage(), 1, &[3], &[1])),
        ("halves", tensor(storage("HalfStorage", "0", 8), 3, &[5], &[1])),
    ]);
    cases.push(read(Kind::Pt, "two_dtypes_on_one_storage", archive(&two_dtypes, &[&[7; 16]])));
    cases
}

/// Arguments of a good tensor, of which a case bends one.
fn arguments() -> Vec<Vec<u8>> {
    vec![float_storage(), int(0), ints(&[4]), ints(&[1]), yes_or_no(false), ordered_dict()]
}

fn rebuilt(function: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    call(name("torch._utils", function), arguments)
}

fn arguments_of_other_kinds() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, place, item, says) in [
        ("storage", 0, int(0), "has no storage"),
        ("offset", 1, text("0"), "has a str for a size, stride or offset"),
        ("size", 2, int(4), "has an int for its sizes"),
        ("one_size", 2, tuple(&[yes_or_no(true)]), "has a bool for a size, stride or offset"),
        ("stride", 3, b"]".to_vec(), "has a list for its sizes"),
        ("grad", 4, int(1), "has an int for a yes or no"),
    ] {
        let mut bent = arguments();
        bent[place] = item;
        let says = format!("tensor `a` {says}");
        cases.push(pt(
            &format!("argument_{what}"),
            rebuilt("_rebuild_tensor_v2", &bent),
            Inconsistent,
            &says,
        ));
    }
    let v3 = |dtype: &str, size: i64| {
        let untyped = storage("UntypedStorage", "0", 16);
        let arguments = [untyped, int(0), ints(&[size]), ints(&[1]), yes_or_no(false), ordered_dict()];
        rebuilt("_rebuild_tensor_v3", &[arguments.as_slice(), &[name("torch", dtype)]].concat())
    };
    cases.push(pt("dtype_of_wrong_size", v3("float64", 4), Tensor, "of a storage of 2 elements"));
    cases.push(pt("dtype_unknown", v3("float3_e1m1", 4), Refused, "names `torch.float3_e1m1`"));
    let says = "is built from other parts than torch gives it";
    for (function, arguments) in [
        ("_rebuild_tensor_v2", &arguments()[..5]),
        ("_rebuild_tensor_v3", &arguments()),
        ("_rebuild_qtensor", &arguments()),
        ("_rebuild_parameter", &[]),
        ("_rebuild_meta_tensor_no_storage", &[int(1)]),
    ] {
        cases.push(pt(&format!("parts_of{function}"), rebuilt(function, arguments), Inconsistent, says));
    }
    let sparse = rebuilt("_rebuild_sparse_tensor", &[text("torch.sparse_coo"), tuple(&[])]);
    cases.push(pt("parts_of_a_sparse_tensor", sparse, Inconsistent, "sparse"));
    cases
}

fn marks() -> Vec<Case> {
    let marked = |mark: &str, storage: Vec<u8>| {
        let mut arguments = arguments();
        arguments[0] = storage;
        arguments.push([b"}".to_vec(), text(mark), yes_or_no(true), b"s".to_vec()].concat());
        rebuilt("_rebuild_tensor_v2", &arguments)
    };
    let mut cases = vec![
        pt("mark_unknown", marked("zero", float_storage()), Unsupported, "has the mark `zero`"),
        pt(
            "mark_conj_float32",
            marked("conj", float_storage()),
            Inconsistent,
            "is torch.float32 and marked as a conjugate",
        ),
    ];
    for (class, count, dtype) in [
        ("LongStorage", 2, "int64"),
        ("IntStorage", 4, "int32"),
        ("ByteStorage", 16, "uint8"),
        ("BoolStorage", 16, "bool"),
        ("QInt8Storage", 16, "qint8"),
    ] {
        for (mark, meaning) in [("conj", "a conjugate"), ("neg", "a negative")] {
            let says = format!("is torch.{dtype} and marked as {meaning}");
            let value = marked(mark, storage(class, "0", count));
            cases.push(pt(&format!("mark_{mark}_{dtype}"), value, Inconsistent, &says));
        }
    }
    cases
}

/// Values under a tensor's key that are no tensor.
fn values() -> Vec<Case> {
    [
        (int(3), "an int"),
        (b"N".to_vec(), "None"),
        (text("x"), "a str"),
        (b"}".to_vec(), "a dict"),
        (b"]".to_vec(), "a list"),
        (float_storage(), "a storage"),
        (name("torch", "float16"), "a class or function"),
        ([b"G".as_slice(), &[0; 8]].concat(), "a float"),
    ]
    .into_iter()
    .map(|(value, kind)| {
        let says = format!("tensor `a` is {kind}, not a tensor");
        pt(&format!("value_{}", kind.replace(' ', "_")), value, Unsupported, &says)
    })
    .collect()
}
