//! The file formats that a sink writes: one, and one for what it cannot hold.

use std::sync::Arc;

use callbox_core::{FilePlan, FormatError, Quoted, Remark, SinkError, TensorGroup, TensorSerializer};

/// The formats of one sink.
#[derive(Clone, Debug)]
pub(crate) struct Formats {
    pub(crate) primary: Arc<dyn TensorSerializer>,
    pub(crate) fallback: Option<Arc<dyn TensorSerializer>>,
}

impl Formats {
    /// Plans a group's file in the first format that can hold all of its tensors.
    pub(crate) fn plan(&self, tensors: &TensorGroup<'_>) -> Result<FilePlan, SinkError> {
        match (self.primary.plan(tensors), &self.fallback) {
            (Err(FormatError::CannotHold { key, reason }), Some(fallback)) => {
                let mut plan = fallback.plan(tensors)?;
                plan.remarks.insert(0, self.remark(tensors, &key, &reason, fallback.as_ref()));
                Ok(plan)
            }
            (answer, _) => Ok(answer?),
        }
    }

    /// Finds the format that a plan was made in.
    pub(crate) fn of(&self, plan: &FilePlan) -> Result<&dyn TensorSerializer, FormatError> {
        let mut formats = std::iter::once(&self.primary).chain(&self.fallback);
        let found = formats.find(|format| format.format() == plan.format);
        found.map(AsRef::as_ref).ok_or_else(|| {
            FormatError::Unsupported(format!("this sink does not write the format {}", plan.format.name))
        })
    }

    fn remark(
        &self,
        tensors: &TensorGroup<'_>,
        key: &str,
        reason: &str,
        fallback: &dyn TensorSerializer,
    ) -> Remark {
        let dtype = tensors.tensors.iter().find(|(known, _)| *known == key).map(|(_, tensor)| tensor.dtype);
        let dtype = dtype.map(|dtype| format!(" of {dtype}")).unwrap_or_default();
        let (refused, chosen) = (self.primary.format().extension, fallback.format().extension);
        let text = format!(
            "tensor {}{dtype} cannot be kept in a .{refused} file ({reason}); it and the tensors beside it are \
             written as .{chosen}",
            Quoted(key.as_bytes()),
        );
        Remark { kind: "fallback", text }
    }
}
