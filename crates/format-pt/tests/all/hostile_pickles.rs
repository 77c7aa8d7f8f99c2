//! Pickles that ask for more than tensors.

use crate::forge::value::{self, call, dict, int, ints, name, program, storage, tensor, text, tuple};
use crate::forge::{archive, check_refused, decode};

/// Checks that a pickle is refused, beside one storage of four float32.
#[track_caller]
fn check(pickle: &[u8], kind: &str, reason: &str) {
    check_refused(archive(pickle, &[&[7; 16]]), kind, reason);
}

fn float_storage() -> Vec<u8> {
    storage("FloatStorage", "0", 4)
}

#[test]
fn the_forged_pickle_of_these_tests_would_be_read() {
    let pickle = dict(&[("a", tensor(float_storage(), 0, &[4], &[1]))]);
    assert_eq!(decode(archive(&pickle, &[&[7; 16]])).unwrap().len(), 1);
}

#[test]
fn code_is_refused_by_its_name() {
    for (module, function) in [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("numpy.core.multiarray", "_reconstruct"),
    ] {
        let run = call(name(module, function), &[text("touch pwned")]);
        let full = format!("`{module}.{function}`");
        check(&dict(&[("a", run)]), "refused: ", &full);
        let by_text = [text(module), text(function), b"\x93".to_vec()].concat();
        check(&program(&by_text), "refused: ", &full);
    }
}

#[test]
fn instructions_that_build_objects_are_refused_by_their_names() {
    let class = || name("torch", "Tensor");
    for (instructions, opcode) in [
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
    ] {
        check(&program(&instructions), "refused: ", &format!("the instruction {opcode},"));
    }
    check(&program(b"\xff"), "inconsistent: ", "0xff is no instruction");
}

#[test]
fn only_known_functions_are_called() {
    for function in [name("torch", "Tensor"), name("torch", "float16"), name("torch", "FloatStorage")] {
        check(&dict(&[("a", call(function, &[]))]), "refused: ", "calls a class");
    }
    check(&dict(&[("a", call(text("eval"), &[]))]), "refused: ", "calls a str");
    check(&dict(&[("a", call(name("torch", "Size"), &[int(1)]))]), "inconsistent: ", "other arguments");
}

#[test]
fn items_are_set_in_dicts_and_appended_to_lists_only() {
    let a_tensor = tensor(float_storage(), 0, &[4], &[1]);
    let set = [a_tensor.as_slice(), &text("k"), &int(1), b"s"].concat();
    check(&program(&set), "refused: ", "sets items of a tensor");
    let set_many = [a_tensor.as_slice(), b"(", &text("k"), &int(1), b"u"].concat();
    check(&program(&set_many), "refused: ", "sets items of a tensor");
    let append = [a_tensor.as_slice(), &int(1), b"a"].concat();
    check(&program(&append), "refused: ", "appends to a tensor");
    check(&program(b"}(NNNu"), "inconsistent: ", "a key has no value");
}

#[test]
fn a_program_that_needs_what_is_not_there_is_inconsistent() {
    for instructions in [b"R".as_slice(), b"N\x86", b"}Ns", b"N(\x85", b"Q", b"\x93", b"q\x00"] {
        check(&program(instructions), "inconsistent: ", "needs a value that is not there");
    }
    for instructions in [b"t".as_slice(), b"Nu", b"]e"] {
        check(&program(instructions), "inconsistent: ", "needs a mark that is not there");
    }
    check(&program(b"h\x05"), "inconsistent: ", "memo entry 5 is empty");
    check(&program(b"}}"), "inconsistent: ", "more than one value");
    check(&program(b"}("), "inconsistent: ", "needs a value that is not there");
    check(&[program(b"}"), program(b"}")].concat(), "inconsistent: ", "bytes follow");
    check(b"\x80\x02}", "cut short: ", "data.pkl ends inside");
    check(b"", "cut short: ", "data.pkl ends inside");
}

#[test]
fn protocols_that_torch_never_wrote_are_unsupported() {
    check(b"(dp0\n.", "unsupported: ", "pickle protocol 0");
    check(b"}.", "unsupported: ", "pickle protocol 0");
    for version in [0, 1, 6, 255] {
        check(&[0x80, version, b'}', b'.'], "unsupported: ", &format!("pickle protocol {version}"));
    }
    for version in 2..=5 {
        assert!(decode(archive(&[0x80, version, b'}', b'.'], &[])).unwrap().is_empty());
    }
}

#[test]
fn a_declared_length_is_believed_only_as_far_as_the_file_goes() {
    for instructions in [
        [b"\x8d".as_slice(), &(1u64 << 63).to_le_bytes()].concat(),
        [b"\x8d".as_slice(), &u64::MAX.to_le_bytes()].concat(),
        [b"X".as_slice(), &u32::MAX.to_le_bytes()].concat(),
        b"\x8c\xff".to_vec(),
        [b"\x95".as_slice(), &u64::MAX.to_le_bytes()].concat(),
        b"cos".to_vec(),
    ] {
        check(&program(&instructions), "cut short: ", "data.pkl ends inside");
    }
    let long = [b"\x8a\xff".as_slice(), &[1; 255]].concat();
    check(&program(&long), "over the limit: ", "an integer of 255 bytes");
}

#[test]
fn bombs_run_out_of_their_budget() {
    check(&program(b"}r\xff\xff\xff\xff"), "over the limit: ", "memo entry 4294967295 where entry 0 is next");
    check(&program(&[b'('; 1_000_000]), "over the limit: ", "too many marks");
    check(&program(&[b'N'; 1_000_000]), "over the limit: ", "too many values on the stack");
    let memo = [b"}".as_slice(), &vec![0x94; 5_000_000]].concat();
    check(&program(&memo), "over the limit: ", "too many values");
    let nested = [b")".as_slice(), &vec![0x85; 5_000_000]].concat();
    check(&program(&nested), "over the limit: ", "too many values");
}

#[test]
fn deep_nesting_and_cycles_cost_nothing() {
    let nested = [b")".as_slice(), &[0x85; 1_000_000]].concat();
    check(&program(&nested), "unsupported: ", "the file holds a tuple");
    // A list that holds itself, and one that holds it a billion times by doubling.
    check(&program(b"]q\x00h\x00a"), "unsupported: ", "the file holds a list");
    let mut laughs = b"(]q\x00".to_vec();
    for level in 0..60u8 {
        laughs.extend([b']', b'q', level + 1, b'(', b'h', level, b'h', level, b'e']);
    }
    laughs.push(b't');
    check(&program(&laughs), "unsupported: ", "the file holds a tuple");
}

#[test]
fn a_tensor_inside_tensor_functions_without_end_is_refused() {
    let mut value = tensor(float_storage(), 0, &[4], &[1]);
    for _ in 0..100 {
        let arguments = [value, value::yes_or_no(true), value::ordered_dict()];
        value = call(name("torch._utils", "_rebuild_parameter"), &arguments);
    }
    check(&dict(&[("a", value)]), "over the limit: ", "nested too deeply");
}

#[test]
fn a_persistent_id_is_a_storage_or_nothing() {
    let class = || name("torch", "FloatStorage");
    let good = [text("storage"), class(), text("0"), text("cpu"), int(4)];
    let with = |place: usize, item: Vec<u8>| {
        let mut id = good.clone();
        id[place] = item;
        [tuple(&id), b"Q".to_vec()].concat()
    };
    for storage in [
        with(0, text("module")),
        with(1, name("torch", "float16")),
        with(2, int(0)),
        with(4, text("4")),
        [tuple(&good[..4]), b"Q".to_vec()].concat(),
        [tuple(&[good.as_slice(), &[int(0)]].concat()), b"Q".to_vec()].concat(),
    ] {
        let pickle = dict(&[("a", tensor(storage, 0, &[4], &[1]))]);
        check(&pickle, "inconsistent: ", "a storage that is none of torch's");
    }
    check(&program(&[int(1), b"Q".to_vec()].concat()), "inconsistent: ", "a persistent id is no tuple");
    let foreign = with(1, name("os", "FloatStorage"));
    check(&dict(&[("a", tensor(foreign, 0, &[4], &[1]))]), "refused: ", "`os.FloatStorage`");
    for entry in ["../0", "/etc/passwd", "0/..", ""] {
        let pickle = dict(&[("a", tensor(storage("FloatStorage", entry, 4), 0, &[4], &[1]))]);
        check(&pickle, "inconsistent: ", "which the file lacks");
    }
}

#[test]
fn keys_are_texts_and_differ() {
    let value = || tensor(float_storage(), 0, &[4], &[1]);
    check(&dict(&[("a", value()), ("a", value())]), "inconsistent: ", "two tensors `a`");
    let by_number = [b"}".to_vec(), int(1), value(), b"s".to_vec()].concat();
    check(&program(&by_number), "unsupported: ", "an int for a key");
    let surrogate = [b"}X\x03\x00\x00\x00\xed\xa0\x80".to_vec(), value(), b"s".to_vec()].concat();
    check(&program(&surrogate), "unsupported: ", "is not Unicode text");
}

/// A pickle of 20,000 tensors that are built from the very same parts, a few bytes each.
fn many_of_one(function: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = [text("first"), name("torch._utils", function), b"q\x00".to_vec()].concat();
    entries.extend([tuple(arguments), b"q\x01R".to_vec()].concat());
    for number in 1..20_000 {
        entries.extend(text(&number.to_string()));
        entries.extend(b"h\x00h\x01R");
    }
    program(&[b"}(".as_slice(), &entries, b"u"].concat())
}

#[test]
fn tensors_may_share_their_parts_but_not_so_that_a_small_file_becomes_large_or_slow() {
    let parts = |storage, sizes: Vec<u8>| {
        [storage, int(0), sizes.clone(), sizes, value::yes_or_no(false), value::ordered_dict()]
    };
    let shared_sizes = many_of_one("_rebuild_tensor_v2", &parts(float_storage(), ints(&[1; 64])));
    check(&shared_sizes, "over the limit: ", "sizes and strides");

    let long_name = parts(storage("FloatStorage", &"0".repeat(1 << 20), 4), ints(&[4]));
    check(
        &many_of_one("_rebuild_tensor_v2", &long_name),
        "over the limit: ",
        "a storage's name of 1048576 bytes",
    );

    let marks = [text("neg"), value::yes_or_no(true)].concat().repeat(30_000);
    let marks = [b"}(".to_vec(), marks, b"u".to_vec()].concat();
    let many_marks = [parts(float_storage(), ints(&[1])).as_slice(), &[marks]].concat();
    check(&many_of_one("_rebuild_tensor_v2", &many_marks), "inconsistent: ", "has 30000 marks");

    let values = tensor(float_storage(), 0, &[1], &[1]);
    let data = tuple(&[values.clone(), values, ints(&[9])]);
    let long_layout = [text(&"x".repeat(1 << 20)), data];
    let sparse = decode(archive(&many_of_one("_rebuild_sparse_tensor", &long_layout), &[&[7; 16]])).unwrap();
    assert_eq!(sparse.len(), 20_000);

    let meta = [name("torch", "float32"), ints(&[3]), ints(&[1]), value::yes_or_no(false)];
    let pickle = many_of_one("_rebuild_meta_tensor_no_storage", &meta);
    assert_eq!(decode(archive(&pickle, &[])).unwrap().len(), 20_000);
}

#[test]
fn a_file_of_more_tensors_than_any_call_has_is_over_the_limit() {
    let mut pickle = b"\x80\x02}".to_vec();
    for batch in 0..70u32 {
        pickle.push(b'(');
        for number in 0..1000 {
            pickle.extend(text(&(batch * 1000 + number).to_string()));
            pickle.push(b'N');
        }
        pickle.push(b'u');
    }
    pickle.push(b'.');
    check(&pickle, "over the limit: ", "70000 tensors, at most 65536 are read");
}
