//! Records and calls to start from.

use callbox_core::{
    CallRecord, CallState, DumpedCall, ExecutionStatus, FunctionName, GroupSummary, ProcessKey, SlotName,
    TensorInfo,
};

/// Builds the record of a completed call without arguments and results.
pub fn record(module: &str, name: &str) -> CallRecord {
    CallRecord {
        function: FunctionName::new(module, name),
        call_sequence: 1,
        timestamp: "20260101_000000_000".to_owned(),
        process_id: 1,
        input_metadata: Vec::new(),
        output_metadata: Vec::new(),
        tensor_info: TensorInfo::default(),
        tensor_details: Vec::new(),
        tensor_format: "torch".to_owned(),
        function_signature: String::new(),
        versions: Vec::new(),
        status: ExecutionStatus::Completed,
        graph_capture: false,
        graph_flush: None,
        self_id: None,
        dump_dir: String::new(),
        origin: None,
        error: None,
        reason: None,
        files: Vec::new(),
    }
}

/// Builds the index entry of a record, with the state that its status stands for.
pub fn call(record: &CallRecord) -> DumpedCall {
    let state = match &record.status {
        ExecutionStatus::InputsSaved => CallState::InputsSaved,
        ExecutionStatus::Completed => CallState::Completed,
        ExecutionStatus::Failed => CallState::Failed,
        ExecutionStatus::OutputsSkipped => CallState::OutputsSkipped,
        ExecutionStatus::GraphCapturePendingFlush => CallState::GraphPending,
        ExecutionStatus::Other(name) => CallState::Damaged { reason: format!("unknown status {name}") },
    };
    let name = SlotName {
        timestamp: record.timestamp.clone(),
        process_id: record.process_id,
        function: record.function.name().to_owned(),
        call_sequence: record.call_sequence,
    };
    let summary = |tensors: usize, bytes| GroupSummary { tensors, bytes };
    let info = &record.tensor_info;
    DumpedCall {
        folder: name.to_string(),
        function: record.function.clone(),
        call_sequence: record.call_sequence,
        timestamp: record.timestamp.clone(),
        process: ProcessKey {
            process_id: record.process_id,
            origin: record.origin.as_ref().map(|origin| (origin.host.clone(), origin.process.clone())),
        },
        self_id: record.self_id,
        state,
        inputs: summary(info.input_keys.len(), info.input_bytes),
        outputs: summary(info.output_keys.len(), info.output_bytes.unwrap_or_default()),
        tensor_details: record.tensor_details.clone().into(),
        is_unstable: record.files.iter().any(|file| file.is_unstable),
        flush: record.graph_flush.as_ref().map(|flush| flush.index),
    }
}
