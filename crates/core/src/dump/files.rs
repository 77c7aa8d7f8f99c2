//! Files of tensors: as they are planned, and as a record tells of them.

use crate::describe::Described;
use crate::dump_file::{FilePlan, Remark, WrittenFile};
use crate::error::SinkError;
use crate::name::Group;
use crate::planted;
use crate::ports::DumpSink;
use crate::record::{CallRecord, RecordedFile};
use crate::tensor_file::TensorGroup;

/// Describes a file that is still to be written, in no fewer bytes than it will take then.
pub(super) fn planned_file(group: Group, tensors: &TensorGroup<'_>, plan: &FilePlan) -> RecordedFile {
    RecordedFile {
        name: group.file_name(plan.format),
        bytes: plan.bytes,
        hash: plan.hash.clone(),
        is_unstable: tensors.may_change(),
    }
}

/// Describes a file that was written, and what there is to tell of it.
pub(super) fn recorded_file(
    record: &CallRecord,
    group: Group,
    plan: &FilePlan,
    written: WrittenFile,
) -> (RecordedFile, Option<Remark>) {
    let WrittenFile { bytes, hash, is_unstable } = written;
    let is_unstable = is_unstable && !planted::bug("unstable_not_marked");
    let file = RecordedFile { name: group.file_name(plan.format), bytes, hash, is_unstable };
    let remark = file.is_unstable.then(|| unstable_remark(record, &file));
    (file, remark)
}

pub(super) fn unstable_remark(record: &CallRecord, file: &RecordedFile) -> Remark {
    let text = format!(
        "tensors of {} changed while {} was written: the file may hold what none of them ever was; the record \
         says so",
        record.function, file.name
    );
    Remark { kind: "core: unstable", text }
}

pub(super) fn tensor_group<'a>(group: Group, described: &'a Described<'_>) -> TensorGroup<'a> {
    let tensors = described.tensors.iter().map(|(key, tensor)| (key.as_str(), tensor.clone())).collect();
    TensorGroup { stem: group.stem(), tensors }
}

/// Plans the file of a call's inputs; `None` where it has none. Nothing is read: they may be captured into a graph.
pub(crate) fn plan_inputs(
    sink: &dyn DumpSink,
    inputs: &Described<'_>,
) -> Result<Option<FilePlan>, SinkError> {
    if inputs.tensors.is_empty() {
        return Ok(None);
    }
    sink.plan(&tensor_group(Group::Inputs, inputs)).map(Some)
}
