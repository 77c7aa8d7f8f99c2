//! What is known of a call from the lines about it.

use std::collections::HashSet;
use std::sync::Arc;

use callbox_core::name::is_timestamp;
use callbox_core::{
    CallState, DumpedCall, ExecutionStatus, FunctionName, GroupSummary, ProcessKey, SlotName,
};

use crate::line_facts::LineFacts;
use crate::recurring::{Recurring, TensorDetails};
use crate::second_call::{Identity, has_ended, second_call};

/// A call as its last whole line has it.
#[derive(Clone, Debug)]
pub(crate) struct CallFacts {
    pub(crate) function: FunctionName,
    pub(crate) call_sequence: u64,
    pub(crate) timestamp: String,
    pub(crate) process: ProcessKey,
    pub(crate) self_id: Option<u64>,
    pub(crate) status: ExecutionStatus,
    pub(crate) graph_capture: bool,
    pub(crate) inputs: GroupSummary,
    pub(crate) outputs: GroupSummary,
    tensor_details: TensorDetails,
    is_unstable: bool,
    pub(crate) flush: Option<u64>,
}

/// Texts that many calls have in common, kept once.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    names: HashSet<Arc<str>>,
    pub(crate) recurring: Recurring,
}

impl CallFacts {
    /// Starts with a call's first line. What the line lacks is taken from the folder's name.
    pub(crate) fn new(folder: &str, line: &LineFacts<'_>, shared: &mut Shared) -> CallFacts {
        let slot = SlotName::parse(folder);
        let timestamp = line.timestamp.as_deref().filter(|text| is_timestamp(text)).map(str::to_owned);
        let mut name = |text: &str| shared.name(text);
        CallFacts {
            function: FunctionName::new(name(&line.module), name(&line.function)),
            process: ProcessKey {
                process_id: line.process_id.or(slot.as_ref().map(|slot| slot.process_id)).unwrap_or_default(),
                origin: line.origin.as_ref().map(|(host, process)| (name(host), name(process))),
            },
            call_sequence: line
                .call_sequence
                .or(slot.as_ref().map(|slot| slot.call_sequence))
                .unwrap_or_default(),
            timestamp: timestamp.or(slot.map(|slot| slot.timestamp)).unwrap_or_default(),
            self_id: line.self_id,
            status: ExecutionStatus::from_name(&line.status),
            graph_capture: line.graph_capture,
            inputs: line.inputs,
            outputs: line.outputs,
            tensor_details: line.tensor_details.clone().unwrap_or_default(),
            is_unstable: line.is_unstable,
            flush: line.flush,
        }
    }

    /// Takes the next line about the same folder, and returns a remark where it is not about the same call.
    pub(crate) fn update(
        &mut self,
        folder: &str,
        line: &LineFacts<'_>,
        shared: &mut Shared,
    ) -> Option<String> {
        let status = ExecutionStatus::from_name(&line.status);
        let saves_inputs = status == ExecutionStatus::InputsSaved && !line.graph_capture;
        let remark = second_call(folder, self.identity(), line.identity(), saves_inputs);
        if remark.is_some() {
            *self = CallFacts::new(folder, line, shared);
            return remark;
        }
        self.tensor_details = line.tensor_details.clone().unwrap_or_default();
        self.self_id = line.self_id;
        self.status = status;
        self.graph_capture = line.graph_capture;
        self.inputs = line.inputs;
        self.outputs = line.outputs;
        self.is_unstable = line.is_unstable;
        self.flush = line.flush;
        None
    }

    /// Builds the session's entry.
    pub(crate) fn into_call(self, folder: String, state: CallState) -> DumpedCall {
        DumpedCall {
            folder,
            function: self.function,
            call_sequence: self.call_sequence,
            timestamp: self.timestamp,
            process: self.process,
            self_id: self.self_id,
            state,
            inputs: self.inputs,
            outputs: self.outputs,
            tensor_details: self.tensor_details,
            is_unstable: self.is_unstable,
            flush: self.flush,
        }
    }

    fn identity(&self) -> Identity<'_> {
        Identity {
            function: self.function.name(),
            module: self.function.module(),
            call_sequence: self.call_sequence,
            process_id: self.process.process_id,
            origin: self.process.origin.as_ref().map(|(host, process)| (&**host, &**process)),
            has_ended: has_ended(&self.status, self.graph_capture),
        }
    }
}

/// Builds the session's entry of a folder without a record, from its name alone.
pub(crate) fn call_without_record(folder: String, state: CallState) -> DumpedCall {
    let slot = SlotName::parse(&folder);
    let slot = slot.unwrap_or_else(|| SlotName {
        timestamp: String::new(),
        process_id: 0,
        function: folder.clone(),
        call_sequence: 0,
    });
    DumpedCall {
        folder,
        function: FunctionName::new("", slot.function),
        call_sequence: slot.call_sequence,
        timestamp: slot.timestamp,
        process: ProcessKey { process_id: slot.process_id, origin: None },
        self_id: None,
        state,
        inputs: GroupSummary::default(),
        outputs: GroupSummary::default(),
        tensor_details: Arc::default(),
        is_unstable: false,
        flush: None,
    }
}

impl Shared {
    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(name.clone());
        name
    }
}
