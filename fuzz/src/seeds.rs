//! Inputs to start from: files of the repository, and files that the formats write.

use std::fs;
use std::path::{Path, PathBuf};

use callbox_core::{DType, TensorBuf, TensorGroup, TensorSerializer};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;

use crate::dump_folder::{NEXT_FILE, file_byte};

/// A target's seeds, as they come.
#[derive(Debug)]
pub struct Seeds {
    max_len: usize,
    inputs: Vec<Vec<u8>>,
}

impl Seeds {
    /// Starts with none; longer inputs than `max_len` bytes are left out.
    pub fn new(max_len: usize) -> Seeds {
        Seeds { max_len, inputs: Vec::new() }
    }

    /// Returns the seeds.
    pub fn into_inputs(self) -> Vec<Vec<u8>> {
        self.inputs
    }

    fn add(&mut self, input: impl Into<Vec<u8>>) {
        let input = input.into();
        if input.len() <= self.max_len {
            self.inputs.push(input);
        }
    }
}

/// Lines about a call in which every kind of value occurs, and lines that are damaged.
const LINES: [&str; 9] = [
    r#"{"function_name": "f", "module": "m", "call_sequence": 1, "timestamp": "20260101_120000_001", "process_id": 7, "input_metadata": {"arg_1": {"type": "Point", "value": [1, NaN, -Infinity, 1180591620717411303424, "\ud800"]}, "kwarg_mode": {"type": "Mode", "name": "Mode.A", "value": 1}, "kwarg_dtype": {"type": "torch.dtype", "value": "torch.float16"}}, "output_metadata": {}, "tensor_info": {"input_tensor_keys": ["arg_0"], "output_tensor_keys": ["result"], "input_size_bytes": 8, "output_size_bytes": 8}, "tensor_details": {"arg_0": {"shape": [2], "dtype": "torch.float32", "stride": [1], "device": "cpu"}}, "tensor_format": "safetensors", "function_signature": "(x, *, mode)", "versions": {"torch": "2.15.0"}, "execution_status": "completed", "graph_capture": false, "self_id": 140528012345680, "dump_dir": "x"}"#,
    r#"{"function_name": "w", "module": "m", "input_metadata": {"arg_0": [{"type": "torch.Tensor", "shape": [2], "dtype": "torch.float32", "stride": [1], "device": "cpu", "requires_grad": false, "tensor_key": "arg_0__0"}]}, "output_metadata": {"result": null}, "tensor_info": {"input_tensor_keys": ["arg_0__0", "kwarg_out"], "output_tensor_keys": [], "args_after_tensor_keys": ["kwarg_out"]}, "execution_status": "completed", "callbox": {"format": 1, "host": "node7", "process": "9f86d081884c7d65"}}"#,
    r#"{"function_name": "f", "execution_status": "failed", "error": {"kind": "panic", "type": "String", "text": "out of range"}, "reason": "no space"}"#,
    r#"{"function_name": "f", "execution_status": "inputs_saved", "input_metadata": {"arg_1000000000": 1}}"#,
    r#"{"function_name": "f", "execution_status": "completed", "input_metadata": {"arg_01": 1, "kwarg_": {}, "a__b": []}}"#,
    r#"{"function_name": "f", "function_name": "g", "execution_status": "completed"}"#,
    r#"[[[[[[[[[[[[[[[[[[1e999]]]]]]]]]]]]]]]]]]"#,
    "{\"function_name\": \"f\", \"execution_sta{\"function_name\": \"f\", \"execution_status\": \"completed\"}\r\n",
    "\u{feff}{\"a\": \"\\u0000\", \"b\": 0.1, \"c\": -0, \"d\": 1E+2, \"e\": true}",
];

pub(crate) fn pt_files(seeds: &mut Seeds) {
    for path in files("crates/format-pt/tests/data").into_iter().chain(files("examples/sessions")) {
        if path.extension().is_some_and(|extension| extension == "pt") {
            seeds.add(without_checksums(content(&path)));
        }
    }
    for dtype in [DType::Float32, DType::BFloat16, DType::Bool, DType::Complex64, DType::Float8E5M2] {
        seeds.add(without_checksums(file(&PtSerializer, dtype)));
    }
}

pub(crate) fn safetensors_files(seeds: &mut Seeds) {
    for path in files("crates/format-safetensors/tests/data") {
        seeds.add(content(&path));
    }
    for dtype in [DType::Float32, DType::BFloat16, DType::Bool, DType::UInt64, DType::Float8E4M3Fn] {
        seeds.add(file(&SafetensorsSerializer, dtype));
    }
    let header =
        r#"{"__metadata__": {"a": "b"}, "x": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}}"#;
    seeds.add([(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &[1, 2]].concat());
}

/// The pickles of the fixtures, which stand in an entry of their own.
pub(crate) fn pickles(seeds: &mut Seeds) {
    for path in files("crates/format-pt/tests/data") {
        let content = content(&path);
        let start = content.windows(2).position(|bytes| matches!(bytes, [0x80, 2..=5]));
        let Some(start) = start else { continue };
        let end = content[start..].windows(3).position(|bytes| bytes[0] == b'.' && bytes[1..] == *b"PK");
        seeds.add(&content[start..end.map_or(content.len(), |end| start + end + 1)]);
    }
    // A storage of four float32: what lies in it, and what does not.
    for (offset, size, stride) in [
        (0, 4, 1),
        (0, 2, 2),
        (1, 4, 1),
        (0, 5, 1),
        (0, 1 << 40, 0),
        (0, -1, 1),
        (3, 0, 9),
        (i64::MAX, 2, i64::MAX),
    ] {
        seeds.add(pickle_of_tensor(offset, size, stride));
    }
    choices(seeds);
}

/// Spells a dict with one tensor of one dimension in the storage `0`.
fn pickle_of_tensor(offset: i64, size: i64, stride: i64) -> Vec<u8> {
    let text = |text: &str| [&[0x8c, text.len() as u8], text.as_bytes()].concat();
    let int = |value: i64| [[0x8a, 8].as_slice(), &value.to_le_bytes()].concat();
    let storage = [
        b"(",
        text("storage").as_slice(),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &int(4),
        b"tQ",
    ]
    .concat();
    let sizes = [int(size), b"\x85".to_vec(), int(stride), b"\x85".to_vec()].concat();
    [
        b"\x80\x02}",
        text("arg_0").as_slice(),
        b"ctorch._utils\n_rebuild_tensor_v2\n(",
        &storage,
        &int(offset),
        &sizes,
        b"\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

/// Bytes that are decisions: all of one kind, and mixed ones.
pub(crate) fn choices(seeds: &mut Seeds) {
    seeds.add([0; 64]);
    let mut state = 1u32;
    for len in [16, 64, 128, 200, 300, 400] {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                // The generator of Numerical Recipes; its upper bits are good enough.
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        seeds.add(bytes);
    }
}

pub(crate) fn lines(seeds: &mut Seeds) {
    for line in LINES {
        seeds.add(line);
    }
    seeds.add([LINES[0], LINES[0]].join("\n"));
    for path in files("examples/sessions") {
        if path.file_name().is_some_and(|name| name == "metadata.jsonl") {
            content(&path).split(|&byte| byte == b'\n').for_each(|line| seeds.add(line));
        }
    }
}

pub(crate) fn patterns(seeds: &mut Seeds) {
    for input in [
        "*fp8*,*FP8*\0*quantize*\0flashinfer.gemm\0bmm_fp8",
        "*decode*\0*.__init__,*.plan\0flashinfer.decode\0BatchDecodeWithPagedKVCacheWrapper.run",
        "mm_fp[48], single_?*\0[!a-z]*\0m\0mm_fp8",
        "[]a],[z-a],[a-\0[^x]{a,b}\\*\0\0[a-",
        "{ab}c*,[\0\0m\0{ab}cd",
        "****a****b****c\0\0\0aaaabbbbcccc",
        "\u{3000}é?ü\u{1f}\0[é-ü]\0a.b.c\0éxü",
    ] {
        seeds.add(input);
    }
}

pub(crate) fn folder_names(seeds: &mut Seeds) {
    for input in [
        "20260101_120000_001_pid7_f_call0001",
        "20261124_191047_655_pid846_BatchDecodeWithPagedKVCacheWrapper.__init___call0001",
        "20260101_120000_001_pid18446744073709551615_f_2_call18446744073709551615",
        "20260101_120000_001_pid007_f_call1_call00",
        "20260101_120000_001_pid+7_é_call-1",
        "graph_flushes",
        ".hidden",
        "metadata.jsonl",
    ] {
        seeds.add(input);
    }
    seeds.add(format!("20260101_120000_001_pid7_{}_call0001", "x".repeat(200)));
}

pub(crate) fn sessions(seeds: &mut Seeds) {
    let call = "20260101_120000_001_pid7_f_call0001";
    let inputs = file(&PtSerializer, DType::Float32);
    let outputs = file(&SafetensorsSerializer, DType::Float32);
    let metadata = format!("{call}/metadata.jsonl");
    for line in LINES {
        seeds.add(session(&[("session.jsonl", line.as_bytes()), (&metadata, line.as_bytes())]));
        seeds.add(session(&[
            ("session.jsonl", line.as_bytes()),
            (&metadata, format!("{line}\n{line}\n").as_bytes()),
            (&format!("{call}/inputs.pt"), &inputs),
            (&format!("{call}/outputs.safetensors"), &outputs),
        ]));
    }
    let object = |name: &str, status: &str| {
        let folder = if name == "__init__" { "002_pid7_C.__init__" } else { "003_pid7_C.run" };
        format!(
            r#"{{"function_name": "C.{name}", "module": "m", "call_sequence": 1, "process_id": 7, "self_id": 5, "timestamp": "20260101_120000_{}", "execution_status": "{status}", "output_metadata": {{"result": null}}, "dump_dir": "x/20260101_120000_{folder}_call0001"}}"#,
            &folder[..3]
        )
    };
    let (made, ran) = (object("__init__", "completed"), object("run", "completed"));
    seeds.add(session(&[
        ("session.jsonl", format!("{made}\n{ran}\n").as_bytes()),
        ("20260101_120000_002_pid7_C.__init___call0001/metadata.jsonl", made.as_bytes()),
        ("20260101_120000_003_pid7_C.run_call0001/metadata.jsonl", ran.as_bytes()),
        ("20260101_120000_003_pid7_C.run_call0001/graph_flushes/flush_0001/metadata.jsonl", ran.as_bytes()),
    ]));
}

/// Spells a session as its target takes it.
fn session(files: &[(&str, &[u8])]) -> Vec<u8> {
    let piece = |(name, content): &(&str, &[u8])| {
        let byte = file_byte(name).expect("the target knows the file");
        let content: Vec<u8> = content.iter().copied().filter(|&byte| byte != NEXT_FILE).collect();
        [&[byte], content.as_slice()].concat()
    };
    files.iter().map(piece).collect::<Vec<_>>().join(&NEXT_FILE)
}

/// Writes a file of two tensors.
fn file(format: &dyn TensorSerializer, dtype: DType) -> Vec<u8> {
    let tensor = |shape: &[usize]| {
        let elements = vec![1; shape.iter().product::<usize>() * dtype.item_size()];
        TensorBuf::from_elements(dtype, shape, elements).expect("an element has its size in bytes")
    };
    let (one, other) = (tensor(&[2, 3]), tensor(&[]));
    let tensors = vec![("arg_0", one.as_view()), ("result", other.as_view())];
    let mut file = Vec::new();
    format.encode(&TensorGroup { stem: "inputs", tensors }, &mut file).expect("the format holds the dtype");
    file
}

/// Sets every checksum to zero, which counts as not computed: then a mutation of the data is read.
fn without_checksums(mut file: Vec<u8>) -> Vec<u8> {
    for at in 0..file.len().saturating_sub(20) {
        let crc = match file[at..at + 4] {
            [b'P', b'K', 3, 4] => at + 14,
            [b'P', b'K', 1, 2] => at + 16,
            [b'P', b'K', 7, 8] => at + 4,
            _ => continue,
        };
        file[crc..crc + 4].fill(0);
    }
    file
}

/// Finds every file below a folder of the repository, in a fixed order.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder), &mut files);
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn content(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
