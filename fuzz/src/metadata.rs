//! From the line about a call to the arguments of its replay.

use std::cell::OnceCell;

use callbox_core::{DType, DumpSource, TensorBuf, TensorGroup, TensorSerializer};
use callbox_format_safetensors::SafetensorsSerializer;

use crate::dump_folder::read;
use crate::scratch::Scratch;

/// Tensors that the line may name.
const KEYS: [&str; 8] =
    ["arg_0", "arg_1", "arg_2", "kwarg_out", "arg_0__0", "kwarg_a__b", "result", "result_0"];

/// Reads the input as the metadata of a call whose files are as they should be.
pub(crate) fn line(input: &[u8]) {
    thread_local! {
        static CALL: OnceCell<Scratch> = const { OnceCell::new() };
    }
    CALL.with(|call| {
        let call = call.get_or_init(call_with_files);
        call.write("metadata.jsonl", input);
        let Some(source) = call.open() else { return };
        check_agreement(&source);
        read(&source);
    });
}

fn call_with_files() -> Scratch {
    let scratch = Scratch::new();
    let values = [1.0, 2.0];
    let tensor = TensorBuf::from_f32(DType::Float32, &[2], &values).expect("two values for two elements");
    let tensors = KEYS.iter().map(|key| (*key, tensor.as_view())).collect();
    let mut file = Vec::new();
    SafetensorsSerializer
        .encode(&TensorGroup { stem: "inputs", tensors }, &mut file)
        .expect("f32 can be written");
    for group in ["inputs", "outputs", "args_after"] {
        scratch.write(&format!("{group}.safetensors"), &file);
    }
    scratch
}

/// The index is read by a scanner and the record by a parser: of a line that both take, they have to say the same.
/// The parser refuses more: a key that is there twice is noticed in every object, a wrong type in every key.
fn check_agreement(source: &dyn DumpSource) {
    let session = source.calls().expect("the folder exists");
    let [call] = session.calls.as_slice() else { panic!("one folder is one call") };
    let Ok(loaded) = source.record(call) else { return };
    let record = &loaded.record;
    let differs = loaded.findings.iter().find(|finding| finding.message.contains("the session lists"));
    assert!(differs.is_none(), "{differs:?}");
    assert_eq!((&call.function, call.self_id), (&record.function, record.self_id));
    assert_eq!(call.inputs.tensors, record.tensor_info.input_keys.len());
    assert_eq!(call.outputs.tensors, record.tensor_info.output_keys.len());
    assert_eq!(*call.tensor_details, *record.tensor_details);
}
