//! Safetensors headers that lie, and files that are something else.

use super::forge::safetensors;
use super::{Case, Kind, Refusal};
use Refusal::{Inconsistent, Limit, NotThisFormat, Tensor, Truncated, Unsupported};

pub(super) fn cases() -> Vec<Case> {
    [lengths(), headers(), tensors(), offsets(), crowds()].concat()
}

fn refused(name: &str, bytes: Vec<u8>, refusal: Refusal, says: &str) -> Case {
    super::refused(Kind::Safetensors, name, bytes, refusal, says)
}

fn read(name: &str, header: &str, data: &[u8]) -> Case {
    super::read(Kind::Safetensors, name, safetensors(header, data))
}

fn lengths() -> Vec<Case> {
    let only = |length: u64| length.to_le_bytes().to_vec();
    let mut cases = vec![
        refused("file_of_no_bytes", Vec::new(), Truncated, ""),
        refused("file_of_7_bytes", vec![0; 7], Truncated, "no header in a file of 7 bytes"),
        refused("length_0", only(0), NotThisFormat, "does not begin with `{`"),
        refused("length_7", only(7), Truncated, "a header of 7 bytes in a file of 8 bytes"),
        refused(
            "length_beyond_the_file",
            safetensors("{}", &[])[..9].to_vec(),
            Truncated,
            "a header of 2 bytes",
        ),
    ];
    for length in [(16 << 20) + 1, 100_000_001, u64::MAX] {
        let says = format!("a header of {length} bytes, at most");
        cases.push(refused(&format!("length_{length}"), only(length), Limit, &says));
    }
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = vec![
        read("header_empty", "{}", &[]),
        read("header_padded", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}   ", &[7]),
    ];
    for (what, header) in [("space", " {}"), ("array", "[]"), ("zip", "PK\u{3}\u{4}")] {
        let says = "its header does not begin with `{`";
        cases.push(refused(
            &format!("header_begins_with_{what}"),
            safetensors(header, &[]),
            NotThisFormat,
            says,
        ));
    }
    for (what, header) in [
        ("cut", "{"),
        ("two", "{}{}"),
        ("number_for_a_tensor", r#"{"a":1}"#),
        ("nothing_of_a_tensor", r#"{"a":{}}"#),
        ("no_offsets", r#"{"a":{"dtype":"U8","shape":[1]}}"#),
        ("size_negative", r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}"#),
        ("size_broken", r#"{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}"#),
        ("size_2_64", r#"{"a":{"dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,1]}}"#),
        ("one_offset", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}"#),
        ("two_dtypes", r#"{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#),
        ("dtype_is_a_number", r#"{"a":{"dtype":8,"shape":[1],"data_offsets":[0,1]}}"#),
        ("metadata_is_a_list", r#"{"__metadata__":[]}"#),
        ("metadata_of_numbers", r#"{"__metadata__":{"a":1}}"#),
        ("metadata_twice", r#"{"__metadata__":{},"__metadata__":{}}"#),
    ] {
        cases.push(refused(
            &format!("header_{what}"),
            safetensors(header, &[0]),
            Inconsistent,
            "the header: ",
        ));
    }
    let nested = format!("{{\"a\":{}", "[".repeat(100_000));
    cases.push(refused("header_nested_1e5", safetensors(&nested, &[]), Inconsistent, "the header: "));
    let not_utf8 = [&4u64.to_le_bytes(), b"{\"\xff\"".as_slice()].concat();
    cases.push(refused("header_not_utf8", not_utf8, Inconsistent, "the header: "));
    cases
}

fn tensors() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, dtype) in [
        ("F6_E2M3", "F6_E2M3"),
        ("C128", "C128"),
        ("of_torch", "float32"),
        ("empty", ""),
        ("escape", "\\u001b[2J"),
    ] {
        let header = format!(r#"{{"a":{{"dtype":"{dtype}","shape":[1],"data_offsets":[0,1]}}}}"#);
        let says = "tensor `a` has the dtype `";
        cases.push(refused(&format!("dtype_{what}"), safetensors(&header, &[0]), Unsupported, says));
    }
    let packed = |shape: &str, end: usize| {
        let header = format!(r#"{{"a":{{"dtype":"F4","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        safetensors(&header, &vec![7; end])
    };
    cases.push(super::read(Kind::Safetensors, "f4_of_whole_bytes", packed("[3,8]", 12)));
    cases.push(refused("f4_of_three", packed("[3]", 1), Inconsistent, "the header: "));
    cases.push(refused("f4_scalar", packed("[]", 0), Inconsistent, "the header: "));
    cases.push(refused("f4_rows_of_three", packed("[2,3]", 3), Unsupported, "rows that end inside a byte"));
    let dims = format!(r#"{{"a":{{"dtype":"U8","shape":{:?},"data_offsets":[0,1]}}}}"#, [1; 65]);
    cases.push(refused("dims_65", safetensors(&dims, &[7]), Tensor, "65 dimensions"));
    cases
}

fn offsets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, shape, offsets, says) in [
        ("shape_below_range", "[3]", "[0,4]", "the header: "),
        ("shape_above_range", "[4]", "[0,5]", "the header: "),
        ("uncovered_end", "[3]", "[0,3]", "describes 3 bytes of data, the file has 4"),
        ("uncovered_start", "[3]", "[1,4]", "invalid offset"),
        ("reversed", "[4]", "[4,0]", "invalid offset"),
        ("beyond_the_file", "[5]", "[0,5]", "describes 5 bytes of data, the file has 4"),
        ("shape_overflow", "[4611686018427387904,4]", "[0,4]", "overflow"),
        (
            "range_of_petabytes",
            "[4503599627370496]",
            "[0,4503599627370496]",
            "describes 4503599627370496 bytes",
        ),
    ] {
        let header = format!(r#"{{"a":{{"dtype":"U8","shape":{shape},"data_offsets":{offsets}}}}}"#);
        cases.push(refused(&format!("offsets_{what}"), safetensors(&header, &[7; 4]), Inconsistent, says));
    }
    for (what, [first, second]) in
        [("overlap", [[0, 3], [2, 4]]), ("gap", [[0, 1], [2, 4]]), ("shared", [[0, 4], [0, 4]])]
    {
        let entry = |[start, end]: [usize; 2]| {
            format!(r#"{{"dtype":"U8","shape":[{}],"data_offsets":[{start},{end}]}}"#, end - start)
        };
        let header = format!(r#"{{"a":{},"b":{}}}"#, entry(first), entry(second));
        cases.push(refused(
            &format!("offsets_{what}"),
            safetensors(&header, &[7; 4]),
            Inconsistent,
            "invalid offset",
        ));
    }
    let header = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let says = "describes 1 bytes of data, the file has 3";
    cases.push(refused("trailing_bytes", safetensors(header, b"\x01PK"), Inconsistent, says));
    let petabytes = r#"{"a":{"dtype":"U8","shape":[0,4611686018427387904],"data_offsets":[0,0]}}"#;
    cases.push(read("empty_beside_a_huge_dim", petabytes, &[]));
    cases
}

fn crowds() -> Vec<Case> {
    let twice = r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    let escaped = twice.replacen("\"a\":", "\"\\u0061\":", 1);
    let entries: Vec<_> = (0..100_000)
        .map(|number| format!(r#""{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let crowd = format!("{{{}}}", entries.join(","));
    vec![
        refused("two_of_one_name", safetensors(twice, &[1, 2]), Inconsistent, "there are two tensors `a`"),
        refused(
            "two_of_one_name_escaped",
            safetensors(&escaped, &[1, 2]),
            Inconsistent,
            "there are two tensors `a`",
        ),
        refused("tensors_1e5", safetensors(&crowd, &[]), Limit, "100000 tensors, at most"),
    ]
}
