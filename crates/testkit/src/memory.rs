//! A session in memory.

use std::collections::HashMap;

use callbox_core::{
    CallRecord, DumpSource, DumpedCall, Group, LoadedRecord, LoadedTensor, Session, SourceError, TensorBuf,
    TensorMap,
};

use crate::sample;

/// A [`DumpSource`] whose calls were put in by a test.
#[derive(Debug, Default)]
pub struct MemorySource {
    session: Session,
    records: HashMap<String, CallRecord>,
    files: HashMap<(String, Group), TensorMap>,
}

impl MemorySource {
    /// Appends a call with the tensors of its groups, and returns its index entry.
    ///
    /// Sequence numbers follow from the place, so that no two calls share a folder.
    pub fn push(&mut self, mut record: CallRecord, files: &[(Group, &[(&str, TensorBuf)])]) -> DumpedCall {
        record.call_sequence = self.session.calls.len() as u64 + 1;
        for (group, tensors) in files {
            let keys = tensors.iter().map(|(key, _)| (*key).to_owned()).collect();
            match group {
                Group::Inputs => record.tensor_info.input_keys = keys,
                Group::Outputs => record.tensor_info.output_keys = keys,
                Group::ArgsAfter => record.tensor_info.args_after_keys = keys,
            }
        }
        let call = sample::call(&record);
        for (group, tensors) in files {
            let mut map = TensorMap::default();
            for (key, tensor) in *tensors {
                map.insert((*key).to_owned(), LoadedTensor::Whole(tensor.clone()));
            }
            self.files.insert((call.folder.clone(), *group), map);
        }
        self.records.insert(call.folder.clone(), record);
        self.session.calls.push(call.clone());
        call
    }

    /// Makes a part of a file one whose checksum its writer left out.
    pub fn leave_unchecked(&mut self, call: &DumpedCall, group: Group, part: &str) {
        if let Some(tensors) = self.files.get_mut(&(call.folder.clone(), group)) {
            tensors.note_unchecked(part.to_owned());
        }
    }

    /// Takes a file away, as a damaged folder would lack it.
    pub fn lose(&mut self, call: &DumpedCall, group: Group) {
        self.files.remove(&(call.folder.clone(), group));
    }
}

impl DumpSource for MemorySource {
    fn calls(&self) -> Result<Session, SourceError> {
        Ok(self.session.clone())
    }

    fn record(&self, call: &DumpedCall) -> Result<LoadedRecord, SourceError> {
        let record = self.records.get(&call.folder).cloned();
        let record = record.ok_or_else(|| SourceError::NoRecord {
            path: call.folder.clone().into(),
            reason: "it was never added to this source".to_owned(),
        })?;
        Ok(LoadedRecord { record, findings: Vec::new() })
    }

    fn load(&self, call: &DumpedCall, group: Group) -> Result<Option<TensorMap>, SourceError> {
        Ok(self.files.get(&(call.folder.clone(), group)).cloned())
    }
}
