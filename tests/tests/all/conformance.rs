//! Every adapter passes its port's suite.

use std::path::Path;
use std::sync::Arc;

use callbox_core::{Arguments, DType, FunctionName, Group, TensorBuf, Value};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_kernels_cpu::CpuExecutor;
use callbox_sink_fs::{FsSource, ReadMode, ReadOptions};
use callbox_testkit::conformance::ExecutorCase;
use callbox_testkit::{MemorySource, conformance, sample};

#[test]
fn pt_files_are_a_format() {
    conformance::serializer(&PtSerializer);
}

#[test]
fn safetensors_files_are_a_format() {
    conformance::serializer(&SafetensorsSerializer);
}

#[test]
fn the_cpu_is_an_executor() {
    let wrapper = |method: &str| {
        FunctionName::new("flashinfer.decode", format!("BatchDecodeWithPagedKVCacheWrapper.{method}"))
    };
    let workspace = TensorBuf::from_elements(DType::UInt8, &[1], vec![0]).unwrap();
    let case = ExecutorCase {
        function: FunctionName::new("flashinfer.norm", "rmsnorm"),
        constructor: wrapper("__init__"),
        arguments: Arguments { positional: vec![Value::Tensor(workspace)], keyword: Vec::new() },
        method: wrapper("run"),
    };
    conformance::executor(&mut CpuExecutor, case);
}

#[test]
fn a_folder_is_a_source_read_or_mapped() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/sessions");
    for name in ["batch_decode", "killed"] {
        for mode in [ReadMode::Buffered, ReadMode::Mapped] {
            let formats = vec![Arc::new(PtSerializer) as _];
            let source = FsSource::open(&examples.join(name), formats, ReadOptions { mode }).unwrap();
            conformance::source(&source);
        }
    }
}

#[test]
fn memory_is_a_source() {
    let mut source = MemorySource::default();
    let tensor = TensorBuf::from_f32(DType::Float32, &[1], &[1.0]).unwrap();
    source.push(sample::record("module", "function"), &[(Group::Inputs, &[("arg_0", tensor)])]);
    source.push(sample::record("module", "function"), &[]);
    conformance::source(&source);
}
