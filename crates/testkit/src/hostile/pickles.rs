//! Pickles that ask for more than tensors.

use super::forge::archive;
use super::forge::pickle::{
    call, dict, float_storage, int, ints, many_of_one, name, ordered_dict, program, storage, tensor, text,
    tuple, yes_or_no,
};
use super::{Case, Kind, Refusal, refused};
use Refusal::{Inconsistent, Limit, Refused, Truncated, Unsupported};

pub(super) fn cases() -> Vec<Case> {
    [code(), objects(), wrong_places(), protocols(), lengths(), bombs(), persistent_ids(), keys(), shared()]
        .concat()
}

/// A pickle beside one storage of four float32.
fn pt(name: &str, pickle: &[u8], refusal: Refusal, says: &str) -> Case {
    refused(Kind::Pt, name, archive(pickle, &[&[7; 16]]), refusal, says)
}

/// A pickle that is read, beside one storage of four float32.
fn read(name: &str, pickle: &[u8]) -> Case {
    super::read(Kind::Pt, name, archive(pickle, &[&[7; 16]]))
}

fn code() -> Vec<Case> {
    let mut cases = Vec::new();
    for (module, function) in [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch._utils", "_import_dotted_name"),
        ("torch.jit", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("runpy", "run_path"),
    ] {
        let run = call(name(module, function), &[text("touch pwned")]);
        let says = format!("the file names `{module}.{function}`");
        cases.push(pt(&format!("global_{module}.{function}"), &dict(&[("a", run)]), Refused, &says));
        let by_text = [text(module), text(function), b"\x93(".to_vec(), text("touch pwned"), b"tR".to_vec()];
        let name = format!("stack_global_{module}.{function}");
        cases.push(pt(&name, &program(&by_text.concat()), Refused, &says));
    }
    for (what, function) in [
        ("class", name("torch", "Tensor")),
        ("dtype", name("torch", "float16")),
        ("storage", name("torch", "FloatStorage")),
    ] {
        let says = "the file calls a class; nothing of it was run";
        cases.push(pt(&format!("call_of_a_{what}"), &dict(&[("a", call(function, &[]))]), Refused, says));
    }
    cases.push(pt("call_of_a_text", &dict(&[("a", call(text("eval"), &[]))]), Refused, "calls a str"));
    let size = call(name("torch", "Size"), &[int(1)]);
    cases.push(pt("call_of_size_with_an_int", &dict(&[("a", size)]), Inconsistent, "other arguments"));
    cases
}

fn objects() -> Vec<Case> {
    let class = || name("torch", "Tensor");
    let mut cases: Vec<Case> = [
        (b"(ios\nsystem\n".to_vec(), "INST"),
        ([b"(".to_vec(), class(), b"o".to_vec()].concat(), "OBJ"),
        ([class(), b")\x81".to_vec()].concat(), "NEWOBJ"),
        ([class(), b")}\x92".to_vec()].concat(), "NEWOBJ_EX"),
        (b"}}b".to_vec(), "BUILD"),
        (b"\x82\x01".to_vec(), "EXT1"),
        (b"\x83\x01\x00".to_vec(), "EXT2"),
        (b"\x84\x01\x00\x00\x00".to_vec(), "EXT4"),
        (b"P0\n".to_vec(), "PERSID"),
        (b"}2".to_vec(), "DUP"),
        (b"I1\n".to_vec(), "INT"),
        (b"\x8b\xff\xff\xff\x7f".to_vec(), "LONG4"),
        (b"\x8f".to_vec(), "EMPTY_SET"),
        (b"\x97".to_vec(), "NEXT_BUFFER"),
    ]
    .into_iter()
    .map(|(instructions, opcode)| {
        let says = format!("the instruction {opcode},");
        pt(&format!("instruction_{opcode}"), &program(&instructions), Refused, &says)
    })
    .collect();
    for (what, behind) in [("OBJ", "o"), ("NEWOBJ", ")\u{81}")] {
        let behind: Vec<u8> = behind.chars().map(|character| character as u8).collect();
        let foreign = [b"(".to_vec(), name("subprocess", "Popen"), behind].concat();
        let says = "the file names `subprocess.Popen`";
        cases.push(pt(&format!("foreign_class_{what}"), &program(&foreign), Refused, says));
    }
    let state = [tensor(float_storage(), 0, &[4], &[1]), b"}b".to_vec()].concat();
    cases.push(pt("build_on_a_tensor", &program(&state), Refused, "the instruction BUILD,"));
    cases.push(pt("no_instruction", &program(b"\xff"), Inconsistent, "0xff is no instruction"));
    cases
}

fn wrong_places() -> Vec<Case> {
    let a_tensor = tensor(float_storage(), 0, &[4], &[1]);
    let set = [a_tensor.as_slice(), &text("k"), &int(1), b"s"].concat();
    let set_many = [a_tensor.as_slice(), b"(", &text("k"), &int(1), b"u"].concat();
    let append = [a_tensor.as_slice(), &int(1), b"a"].concat();
    let two = [program(b"}"), program(b"}")].concat();
    let mut cases = vec![
        pt("setitem_on_a_tensor", &program(&set), Refused, "the file sets items of a tensor"),
        pt("setitems_on_a_tensor", &program(&set_many), Refused, "the file sets items of a tensor"),
        pt("append_to_a_tensor", &program(&append), Refused, "the file appends to a tensor"),
        pt("key_without_a_value", &program(b"}(NNNu"), Inconsistent, "a key has no value"),
        pt("memo_entry_missing", &program(b"h\x05"), Inconsistent, "memo entry 5 is empty"),
        pt("two_values_left", &program(b"}}"), Inconsistent, "more than one value"),
        pt("bytes_after_stop", &[program(b"}"), b"x".to_vec()].concat(), Inconsistent, "bytes follow"),
        pt("two_pickles", &two, Inconsistent, "bytes follow the last instruction"),
        pt("stop_missing", b"\x80\x02}", Truncated, "data.pkl ends inside"),
        pt("pickle_empty", b"", Truncated, "data.pkl ends inside"),
        pt("top_is_none", &program(b"N"), Unsupported, "the file holds None, not a dict of tensors"),
    ];
    for (what, instructions) in [
        ("reduce", b"R".as_slice()),
        ("tuple2", b"N\x86"),
        ("setitem", b"}Ns"),
        ("tuple1_above_a_mark", b"N(\x85"),
        ("binpersid", b"Q"),
        ("stack_global", b"\x93"),
        ("binput", b"q\x00"),
        ("stop_above_a_mark", b"}("),
    ] {
        let says = "needs a value that is not there";
        cases.push(pt(&format!("stack_empty_{what}"), &program(instructions), Inconsistent, says));
    }
    for (what, instructions) in [("tuple", b"t".as_slice()), ("setitems", b"Nu"), ("appends", b"]e")] {
        let says = "needs a mark that is not there";
        cases.push(pt(&format!("no_mark_{what}"), &program(instructions), Inconsistent, says));
    }
    cases
}

fn protocols() -> Vec<Case> {
    let says = |version: u8| format!("pickle protocol {version}");
    let mut cases = vec![
        pt("protocol_of_texts", b"(dp0\n.", Unsupported, &says(0)),
        pt("protocol_missing", b"}.", Unsupported, &says(0)),
    ];
    for version in [0, 1, 6, 255] {
        let name = format!("protocol_{version}");
        cases.push(pt(&name, &[0x80, version, b'}', b'.'], Unsupported, &says(version)));
    }
    for version in 2..=5 {
        cases.push(read(&format!("protocol_{version}"), &[0x80, version, b'}', b'.']));
    }
    cases
}

fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, instructions) in [
        ("binunicode8_2_63", [b"\x8d".as_slice(), &(1u64 << 63).to_le_bytes()].concat()),
        ("binunicode8_2_64", [b"\x8d".as_slice(), &u64::MAX.to_le_bytes()].concat()),
        ("binunicode_2_32", [b"X".as_slice(), &u32::MAX.to_le_bytes()].concat()),
        ("short_binunicode", b"\x8c\xff".to_vec()),
        ("frame_beyond_the_end", [b"\x95".as_slice(), &u64::MAX.to_le_bytes()].concat()),
        ("global_without_an_end", b"cos".to_vec()),
    ] {
        cases.push(pt(what, &program(&instructions), Truncated, "data.pkl ends inside the instruction"));
    }
    let long = [b"\x8a\xff".as_slice(), &[1; 255]].concat();
    cases.push(pt("long1_of_255_bytes", &program(&long), Limit, "an integer of 255 bytes"));
    cases
}

fn bombs() -> Vec<Case> {
    let mut laughs = b"(]q\x00".to_vec();
    for level in 0..60u8 {
        laughs.extend([b']', b'q', level + 1, b'(', b'h', level, b'h', level, b'e']);
    }
    laughs.push(b't');
    let after_empty = |instruction: u8, count| [b")".as_slice(), &vec![instruction; count]].concat();
    let mut nested = tensor(float_storage(), 0, &[4], &[1]);
    for _ in 0..100 {
        let arguments = [nested, yes_or_no(true), ordered_dict()];
        nested = call(name("torch._utils", "_rebuild_parameter"), &arguments);
    }
    let mut many = b"\x80\x02}".to_vec();
    for batch in 0..70u32 {
        many.push(b'(');
        for number in 0..1000 {
            many.extend([text(&(batch * 1000 + number).to_string()), b"N".to_vec()].concat());
        }
        many.push(b'u');
    }
    many.push(b'.');
    vec![
        pt(
            "memo_entry_2_32",
            &program(b"}r\xff\xff\xff\xff"),
            Limit,
            "memo entry 4294967295 where entry 0 is next",
        ),
        pt("marks_1e6", &program(&[b'('; 1_000_000]), Limit, "too many marks"),
        pt("stack_1e6", &program(&[b'N'; 1_000_000]), Limit, "too many values on the stack"),
        pt("memo_5e6", &program(&after_empty(0x94, 5_000_000)), Limit, "too many values"),
        pt("tuples_5e6", &program(&after_empty(0x85, 5_000_000)), Limit, "too many values"),
        pt(
            "lists_2e6",
            &program(&[b"]".as_slice(), &b"]a".repeat(2_000_000)].concat()),
            Limit,
            "too many values",
        ),
        pt("nested_5e5", &program(&after_empty(0x85, 500_000)), Unsupported, "the file holds a tuple"),
        pt("list_in_itself", &program(b"]q\x00h\x00a"), Unsupported, "the file holds a list"),
        pt("billion_laughs", &program(&laughs), Unsupported, "the file holds a tuple"),
        pt("billion_laughs_by_dup", &program(b"]2e"), Refused, "the instruction DUP,"),
        pt("parameters_100_deep", &dict(&[("a", nested)]), Limit, "nested too deeply"),
        pt("tensors_70000", &many, Limit, "70000 tensors, at most"),
    ]
}

fn persistent_ids() -> Vec<Case> {
    let class = || name("torch", "FloatStorage");
    let good = [text("storage"), class(), text("0"), text("cpu"), int(4)];
    let with = |place: usize, item: Vec<u8>| {
        let mut id = good.clone();
        id[place] = item;
        [tuple(&id), b"Q".to_vec()].concat()
    };
    let of = |storage: Vec<u8>| dict(&[("a", tensor(storage, 0, &[4], &[1]))]);
    let mut cases: Vec<Case> = [
        ("tag", with(0, text("module"))),
        ("class", with(1, name("torch", "float16"))),
        ("key", with(2, int(0))),
        ("count", with(4, text("4"))),
        ("four_parts", [tuple(&good[..4]), b"Q".to_vec()].concat()),
        ("six_parts", [tuple(&[good.as_slice(), &[int(0)]].concat()), b"Q".to_vec()].concat()),
    ]
    .into_iter()
    .map(|(what, storage)| {
        let says = "a storage that is none of torch's";
        pt(&format!("storage_id_{what}"), &of(storage), Inconsistent, says)
    })
    .collect();
    let count_2_63 = with(4, [b"\x8a\x09".as_slice(), &[0, 0, 0, 0, 0, 0, 0, 0x80, 0]].concat());
    cases.push(pt("storage_id_count_2_63", &of(count_2_63), Limit, "an integer of 9 bytes"));
    let no_tuple = program(&[int(1), b"Q".to_vec()].concat());
    cases.push(pt("storage_id_no_tuple", &no_tuple, Inconsistent, "a persistent id is no tuple"));
    let foreign = of(with(1, name("os", "FloatStorage")));
    cases.push(pt("storage_id_foreign_class", &foreign, Refused, "`os.FloatStorage`"));
    for (what, entry) in [("up", "../0"), ("absolute", "/etc/passwd"), ("and_up", "0/.."), ("empty", "")] {
        let says = "which the file lacks";
        cases.push(pt(
            &format!("storage_key_{what}"),
            &of(storage("FloatStorage", entry, 4)),
            Inconsistent,
            says,
        ));
    }
    cases
}

fn keys() -> Vec<Case> {
    let value = || tensor(float_storage(), 0, &[4], &[1]);
    let by_number = [b"}".to_vec(), int(1), value(), b"s".to_vec()].concat();
    let surrogate = [b"}X\x03\x00\x00\x00\xed\xa0\x80".to_vec(), value(), b"s".to_vec()].concat();
    vec![
        pt(
            "two_tensors_of_one_key",
            &dict(&[("a", value()), ("a", value())]),
            Inconsistent,
            "two tensors `a`",
        ),
        pt("key_is_a_number", &program(&by_number), Unsupported, "an int for a key"),
        pt("key_is_a_surrogate", &program(&surrogate), Unsupported, "is not Unicode text"),
    ]
}

/// Tensors may share their parts, but not so that a small file becomes large or slow.
fn shared() -> Vec<Case> {
    const COUNT: usize = 10_000;
    let parts =
        |storage, sizes: Vec<u8>| [storage, int(0), sizes.clone(), sizes, yes_or_no(false), ordered_dict()];
    let v2 = |arguments: &[Vec<u8>]| many_of_one(COUNT, "_rebuild_tensor_v2", arguments);
    let marks = [text("neg"), yes_or_no(true)].concat().repeat(30_000);
    let marks = [b"}(".to_vec(), marks, b"u".to_vec()].concat();
    let many_marks = [parts(float_storage(), ints(&[1])).as_slice(), &[marks]].concat();
    let long_name = parts(storage("FloatStorage", &"0".repeat(1 << 20), 4), ints(&[4]));
    let values = tensor(float_storage(), 0, &[1], &[1]);
    let sparse = [text(&"x".repeat(1 << 20)), tuple(&[values.clone(), values, ints(&[9])])];
    let meta = [name("torch", "float32"), ints(&[3]), ints(&[1]), yes_or_no(false)];
    let sparse = many_of_one(COUNT, "_rebuild_sparse_tensor", &sparse);
    let meta = many_of_one(COUNT, "_rebuild_meta_tensor_no_storage", &meta);
    let mut cases = vec![
        pt("shared_sizes", &v2(&parts(float_storage(), ints(&[1; 64]))), Limit, "sizes and strides"),
        pt("shared_storage_name", &v2(&long_name), Limit, "a storage's name of 1048576 bytes"),
        pt("shared_marks", &v2(&many_marks), Inconsistent, "has 30000 marks"),
    ];
    for (name, pickle) in [("shared_sparse_layout", sparse), ("shared_meta_tensors", meta)] {
        cases.push(read(name, &pickle));
    }
    cases
}
