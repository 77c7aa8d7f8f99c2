//! Headers that lie, and files that are something else.

use crate::{check_refused, decode, file};

#[test]
fn the_forged_header_of_these_tests_would_be_read() {
    let header = r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    assert_eq!(decode(file(header, &[7; 4])).unwrap().len(), 1);
    let padded = format!("{header}   ");
    assert_eq!(decode(file(&padded, &[7; 4])).unwrap().len(), 1);
    let with_metadata =
        r#"{"__metadata__":{"by":"hand"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#;
    assert_eq!(decode(file(with_metadata, &[7])).unwrap().len(), 1);
    assert!(decode(file("{}", &[])).unwrap().is_empty());
}

#[test]
fn the_header_lies_inside_the_file() {
    for len in 0..8 {
        check_refused(vec![0; len], "cut short: ", "no header");
    }
    check_refused(7u64.to_le_bytes().to_vec(), "cut short: ", "a header of 7 bytes in a file of 8 bytes");
    for length in [16_777_217, 100_000_001, u64::MAX] {
        check_refused(length.to_le_bytes().to_vec(), "over the limit: ", &format!("a header of {length}"));
    }
}

#[test]
fn the_header_is_one_object_of_entries() {
    check_refused(file("", &[]), "not a safetensors file: ", "does not begin with `{`");
    check_refused(file(" {}", &[]), "not a safetensors file: ", "does not begin with `{`");
    check_refused(file("[]", &[]), "not a safetensors file: ", "does not begin with `{`");
    for header in [
        "{",
        "{}{}",
        r#"{"a":1}"#,
        r#"{"a":{}}"#,
        r#"{"a":{"dtype":"U8","shape":[1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#,
        r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#,
        r#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#,
        r#"{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}"#,
        r#"{"__metadata__":[]}"#,
        r#"{"__metadata__":{"a":1}}"#,
        r#"{"__metadata__":{},"__metadata__":{}}"#,
    ] {
        check_refused(file(header, &[0]), "inconsistent: the header", "");
    }
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    check_refused(file(&nested, &[]), "inconsistent: the header", "");
}

#[test]
fn no_name_occurs_twice() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    check_refused(file(header, &[1, 2]), "inconsistent: ", "there are two tensors `a`");
}

#[test]
fn a_dtype_that_is_not_known_is_named() {
    for dtype in ["F6_E2M3", "C128", "float32", "", "\\u001b[2J"] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,1]}}}}"#);
        check_refused(file(&header, &[0]), "unsupported: ", "tensor `a` has the dtype `");
    }
}

/// Checks one uint8 tensor in a file of four bytes of data.
#[track_caller]
fn check(shape: &str, offsets: &str, kind: &str, reason: &str) {
    let header = format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}}}}"#);
    check_refused(file(&header, &[7; 4]), kind, reason);
}

#[test]
fn the_offsets_cover_the_data_and_fit_the_shape() {
    check("[4]", "[0,5]", "inconsistent: ", "");
    check("[3]", "[0,4]", "inconsistent: ", "");
    check("[3]", "[0,3]", "inconsistent: ", "describes 3 bytes of data, the file has 4");
    check("[3]", "[1,4]", "inconsistent: ", "invalid offset");
    check("[4]", "[4,0]", "inconsistent: ", "invalid offset");
    check("[5]", "[0,5]", "inconsistent: ", "describes 5 bytes of data, the file has 4");
    check("[4611686018427387904,4]", "[0,4]", "inconsistent: ", "overflow");
    check("[18446744073709551616]", "[0,4]", "inconsistent: ", "");
    let many_dims = format!(r#"{{"a":{{"dtype":"U8","shape":{:?},"data_offsets":[0,1]}}}}"#, [1; 65]);
    check_refused(file(&many_dims, &[7]), "tensor `a`: 65 dimensions", "");
}

#[test]
fn two_tensors_share_no_byte_and_leave_none_out() {
    for (first, second) in [([0, 3], [2, 4]), ([0, 1], [2, 4]), ([0, 4], [0, 4])] {
        let [a, b] = [first, second].map(|[start, end]: [usize; 2]| {
            format!(r#"{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
        });
        let header = format!(r#"{{"a":{a},"b":{b}}}"#);
        check_refused(file(&header, &[7; 4]), "inconsistent: ", "invalid offset");
    }
}

#[test]
fn packed_numbers_fill_whole_bytes_row_by_row() {
    let packed = |shape: &str, end: usize| {
        format!(r#"{{"a":{{"dtype":"F4","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    assert!(decode(file(&packed("[3,8]", 12), &[7; 12])).is_ok());
    check_refused(file(&packed("[3]", 1), &[7]), "inconsistent: ", "");
    check_refused(file(&packed("[]", 0), &[]), "inconsistent: ", "");
    check_refused(file(&packed("[2,3]", 3), &[7; 3]), "unsupported: ", "rows that end inside a byte");
}

#[test]
fn a_hundred_thousand_empty_tensors_are_read() {
    let entries: Vec<_> = (0..100_000)
        .map(|number| format!(r#""{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let tensors = decode(file(&format!("{{{}}}", entries.join(",")), &[])).unwrap();
    assert_eq!(tensors.len(), 100_000);
}

#[test]
fn bytes_behind_the_data_belong_to_no_tensor() {
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    check_refused(file(header, b"\x01PK"), "inconsistent: ", "describes 1 bytes of data, the file has 3");
}
