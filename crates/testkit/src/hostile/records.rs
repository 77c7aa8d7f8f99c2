//! Records of one call that are no JSON, no record, or none of this call.

use super::forge::archive;
use super::forge::pickle::{dict, float_storage, tensor};
use super::{Case, Expected, Kind, Refusal};
use Refusal::NoRecord;

/// The folder of the call that the hostile records pretend to be of.
pub const FOLDER: &str = "20260101_120000_001_pid7_f_call0001";

/// The call's line as FlashInfer writes it, with its newline.
pub fn line(status: &str) -> String {
    format!(
        "{{\"function_name\": \"f\", \"module\": \"m\", \"call_sequence\": 1, \"timestamp\": \
         \"20260101_120000_001\", \"process_id\": 7, \"input_metadata\": {{\"arg_1\": 1}}, \
         \"output_metadata\": {{}}, \"tensor_info\": {{\"input_tensor_keys\": [\"arg_0\"], \
         \"output_tensor_keys\": [], \"input_size_bytes\": 16}}, \"tensor_format\": \"torch\", \
         \"execution_status\": \"{status}\", \"graph_capture\": false, \"dump_dir\": \"dumps/{FOLDER}\"}}\n"
    )
}

/// The call's file of inputs, `inputs.pt`.
pub fn inputs() -> Vec<u8> {
    archive(&dict(&[("arg_0", tensor(float_storage(), 0, &[4], &[1]))]), &[&[7; 16]])
}

pub(super) fn cases() -> Vec<Case> {
    [files(), texts(), numbers(), fields(), keys(), values(), orders()].concat()
}

fn case(name: &str, bytes: impl Into<Vec<u8>>, expected: Expected) -> Case {
    Case { name: name.to_owned(), kind: Kind::Records, bytes: bytes.into(), expected }
}

fn refused(name: &str, bytes: impl Into<Vec<u8>>, says: &str) -> Case {
    case(name, bytes, Expected::Refused(NoRecord, says.to_owned()))
}

fn noted(name: &str, bytes: impl Into<Vec<u8>>, says: &str) -> Case {
    case(name, bytes, Expected::Noted(says.to_owned()))
}

fn not_replayed(name: &str, bytes: impl Into<Vec<u8>>, says: &str) -> Case {
    case(name, bytes, Expected::NotReplayed(says.to_owned()))
}

fn read(name: &str, bytes: impl Into<Vec<u8>>) -> Case {
    case(name, bytes, Expected::Read)
}

/// The line of the call with another text in place of one that it has.
fn with(from: &str, to: &str) -> String {
    let line = line("inputs_saved");
    assert!(line.contains(from), "the line has no {from}");
    line.replacen(from, to, 1)
}

/// The line of the call with other arguments that are no tensors.
fn with_arguments(arguments: &str) -> String {
    with("{\"arg_1\": 1}", &format!("{{{arguments}}}"))
}

fn files() -> Vec<Case> {
    let whole = line("inputs_saved");
    let without_newline = whole.trim_end();
    vec![
        refused("file_empty", "", "the file has no lines"),
        refused("newlines_only", "\n\r\n\n", "the file has no lines"),
        refused("cut_in_half", &whole[..whole.len() / 2], "line 1: cut off, column "),
        noted("no_final_newline", without_newline, "the newline at its end was cut off; nothing is lost"),
        noted("crlf", whole.replace('\n', "\r\n"), "lines that end in CRLF: 1"),
        noted("byte_order_mark", format!("\u{feff}{whole}"), "1 recovered, 1 lost"),
        refused("byte_order_mark_alone", "\u{feff}{}\n", "byte order mark"),
        refused("byte_order_mark_utf16", b"\xff\xfe{\0".to_vec(), "not UTF-8"),
        refused("nul_bytes", vec![0; 512], "expected a value"),
        noted("nul_bytes_behind", [whole.as_bytes(), &[0; 512]].concat(), "line 2: cut off, "),
        noted("torn_second_line", whole.clone() + &line("completed")[..99], "line 2: cut off, "),
        noted(
            "glued_lines",
            without_newline[..60].to_owned() + &whole,
            "2 records run into each other; 1 recovered, 1 lost",
        ),
        refused("binary", super::forge::Forgery::honest().bytes(), "line "),
        refused("line_of_17_mib", format!("{{\"a\": \"{}", "a".repeat(17 << 20)), "a line may have 16 MiB"),
    ]
}

fn texts() -> Vec<Case> {
    vec![
        refused("not_utf8", [b"{\"function_name\": \"\xff\"}\n".as_slice()].concat(), "not UTF-8"),
        refused("control_character", with("\"m\"", "\"m\u{1}\""), "control character"),
        refused("nul_in_a_text", with("\"m\"", "\"m\0\""), "control character"),
        read("escaped_nul_in_a_text", with_arguments("\"arg_1\": \"a\\u0000b\"")),
        read("lone_surrogate", with_arguments("\"arg_1\": \"\\ud800\"")),
        read("surrogates_in_the_wrong_order", with_arguments("\"arg_1\": \"\\ude00\\ud83d\"")),
        refused("escape_unknown", with_arguments("\"arg_1\": \"\\q\""), "escape"),
        refused("escape_cut", with_arguments("\"arg_1\": \"\\ud8\""), "escape"),
        refused("single_quotes", "{'function_name': 'f'}\n", "expected a string"),
        refused("text_behind_the_record", with("}\n", "} x\n"), "more text behind the value"),
        refused("depth_1e5", "[".repeat(100_000), "nested deeper than 128"),
        refused("depth_1e5_of_objects", "{\"a\":".repeat(100_000), "nested deeper than 128"),
        refused(
            "depth_129",
            with_arguments(&format!("\"arg_1\": {}{}", "[".repeat(127), "]".repeat(127))),
            "nested deeper than 128",
        ),
        read("depth_128", with_arguments(&format!("\"arg_1\": {}{}", "[".repeat(126), "]".repeat(126)))),
    ]
}

fn numbers() -> Vec<Case> {
    let mut cases = Vec::new();
    for (what, number) in [
        ("nan", "NaN"),
        ("infinity", "Infinity"),
        ("minus_infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("2_70", "1180591620717411303424"),
        ("a_million_digits", &"9".repeat(1_000_000)),
    ] {
        cases.push(read(&format!("number_{what}"), with_arguments(&format!("\"arg_1\": {number}"))));
    }
    for (what, number, says) in [
        ("minus_nan", "-NaN", "expected a digit"),
        ("plus", "+1", "expected a value"),
        ("leading_zero", "01", "expected a comma or the end"),
        ("half", ".5", "expected a value"),
        ("hexadecimal", "0x10", "expected a comma or the end"),
    ] {
        cases.push(refused(&format!("number_{what}"), with_arguments(&format!("\"arg_1\": {number}")), says));
    }
    cases
}

fn fields() -> Vec<Case> {
    let twice = |key: &str| format!("the object has the key \"{key}\" twice");
    vec![
        refused("duplicate_module", with("\"module\"", "\"module\": \"os\", \"module\""), &twice("module")),
        refused(
            "duplicate_module_escaped",
            with("\"module\"", "\"m\\u006fdule\": \"os\", \"module\""),
            &twice("module"),
        ),
        refused("duplicate_argument", with_arguments("\"arg_1\": 1, \"arg_1\": 2"), &twice("arg_1")),
        refused("not_an_object", "[1, 2]\n", "`record` is an array, expected an object"),
        refused("no_status", with("execution_status", "status"), "there is no `execution_status`"),
        refused("no_name", with("function_name", "name"), "there is no `function_name`"),
        refused("name_is_a_number", with("\"f\"", "5"), "`function_name` is 5, expected a string"),
        refused(
            "process_negative",
            with("process_id\": 7", "process_id\": -1"),
            "`process_id` is -1, expected an unsigned integer",
        ),
        refused(
            "sizes_negative",
            with_arguments(
                "\"arg_1\": {\"type\": \"torch.Tensor\", \"shape\": [-1], \"dtype\": \"torch.int8\", \"tensor_key\": \"k\"}",
            ),
            "`shape` is -1, expected unsigned integers only",
        ),
        not_replayed("module_os", with("\"m\"", "\"os\""), "no executor for os.f"),
        not_replayed("module_path", with("\"m\"", "\"/tmp/pwned\""), "no executor for /tmp/pwned.f"),
        not_replayed(
            "function_system",
            with("\"f\", \"module\": \"m\"", "\"system\", \"module\": \"os\""),
            "no executor for os.system",
        ),
        read("dump_dir_etc", with("dumps/", "/etc/")),
        read("dump_dir_up", with(&format!("dumps/{FOLDER}"), "..")),
        read("dump_dir_long", with("dumps/", &"x/".repeat(5000))),
        not_replayed("status_unknown", line("melted"), "the execution_status \"melted\" is unknown"),
    ]
}

/// Keys of arguments that no recorder writes, and some that look as if.
fn keys() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, key, says) in [
        ("arg_1000000000", "arg_1000000000", "`arg_1` was not recorded, `arg_1000000000` was"),
        ("arg_2_64", "arg_18446744073709551616", "`arg_18446744073709551616` is no key of an argument"),
        ("arg_minus_1", "arg_-1", "`arg_-1` is no key of an argument"),
        ("arg_x", "arg_x", "`arg_x` is no key of an argument"),
        ("arg_01", "arg_01", "`arg_01` is no key of an argument"),
        ("arg_of_nothing", "arg_", "`arg_` is no key of an argument"),
        ("arg_plus", "arg_+1", "`arg_+1` is no key of an argument"),
        ("kwarg_of_nothing", "kwarg_", "`kwarg_` is no key of an argument"),
        ("key_empty", "", "`` is no key of an argument"),
        ("key_strange", "self", "`self` is no key of an argument"),
    ] {
        cases.push(not_replayed(name, with_arguments(&format!("\"{key}\": 1")), says));
    }
    for key in ["kwarg_kwarg_x", "kwarg_arg_0", "kwarg_a__b"] {
        cases.push(read(key, with_arguments(&format!("\"{key}\": 1"))));
    }
    cases.push(not_replayed(
        "arg_recorded_twice",
        with_arguments("\"arg_0\": 1"),
        "`arg_0` is recorded as a tensor and as a value",
    ));
    cases.push(not_replayed(
        "tensor_key_twice",
        with("[\"arg_0\"]", "[\"arg_0\", \"arg_0\"]"),
        "two arguments were recorded under the key `arg_0`",
    ));
    cases.push(not_replayed(
        "tensor_key_of_nothing",
        with("[\"arg_0\"]", "[\"arg_0\", \"arg_2\"]"),
        "names a tensor `arg_2` that its file does not hold",
    ));
    cases
}

fn values() -> Vec<Case> {
    let argument = |value: &str| with_arguments(&format!("\"arg_1\": {value}"));
    let tensor = |key: &str| {
        argument(&format!(
            "{{\"type\": \"list\", \"length\": 1, \"items\": [{{\"type\": \"torch.Tensor\", \"shape\": [4], \
             \"dtype\": \"torch.float32\", \"stride\": [1], \"tensor_key\": \"{key}\"}}]}}"
        ))
    };
    vec![
        not_replayed(
            "tensor_key_missing",
            tensor("nowhere"),
            "names a tensor `nowhere` that its file does not hold",
        ),
        not_replayed("tensor_key_path", tensor("../../etc/passwd"), "that its file does not hold"),
        not_replayed(
            "dtype_torch_load",
            argument("{\"type\": \"torch.dtype\", \"value\": \"torch.load\"}"),
            "`arg_1` holds the dtype `torch.load`, and there is none of that name",
        ),
        read("dtype_float16", argument("{\"type\": \"torch.dtype\", \"value\": \"torch.float16\"}")),
        read(
            "enum_of_a_foreign_class",
            argument("{\"type\": \"enum\", \"name\": \"os.system\", \"value\": 1}"),
        ),
        read("class_of_a_foreign_module", argument("{\"type\": \"os.system\", \"repr\": \"touch pwned\"}")),
        not_replayed(
            "list_of_2_64",
            argument("{\"type\": \"list\", \"length\": 18446744073709551615, \"items\": []}"),
            "nested too deeply to be recorded",
        ),
        read("objects_3e5", argument(&format!("[{}{{}}]", "{},".repeat(349_000)))),
        read("lists_3e5", argument(&format!("[{}[]]", "[],".repeat(349_000)))),
        read("texts_3e5", argument(&format!("[{}\"\"]", "\"\",".repeat(349_000)))),
        read("ints_5e5", argument(&format!("[{}0]", "0,".repeat(523_000)))),
        read("keys_1e5", {
            let keys: Vec<_> = (0..100_000).map(|key| format!("\"{key}\":0")).collect();
            argument(&format!("{{{}}}", keys.join(",")))
        }),
    ]
}

fn orders() -> Vec<Case> {
    let (begun, ended) = (line("inputs_saved"), line("completed"));
    let other = ended.replacen("call_sequence\": 1", "call_sequence\": 2", 1);
    let another = "a second call was recorded into this folder";
    vec![
        noted("line_of_another_call", begun.clone() + &other, another),
        noted("lines_out_of_order", ended.clone() + &begun, another),
        noted("two_beginnings", begun.clone() + &begun, another),
        noted("three_lines", begun.clone() + &ended + &ended, "the call had ended before this line"),
        noted("a_million_blank_lines", begun.clone() + &"\n".repeat(1_000_000), "blank lines: 1000000"),
        noted("garbage_lines_1e5", begun + &"x\n".repeat(100_000), "more lines with something wrong: "),
    ]
}
