//! Names: of functions, of call folders, of the two groups of tensors.

use std::fmt;
use std::sync::Arc;

use crate::dump_file::Format;

/// A function as the recorder names it: the defining module and `function` or `ClassName.method`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FunctionName {
    module: Arc<str>,
    name: Arc<str>,
}

impl FunctionName {
    /// Joins a module (`flashinfer.decode`) and a name (`BatchDecodeWithPagedKVCacheWrapper.run`).
    pub fn new(module: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> FunctionName {
        FunctionName { module: module.into(), name: name.into() }
    }

    /// Returns the defining module.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// Returns the name inside the module: `function` or `ClassName.method`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Splits `ClassName.method`; a plain function has no class.
    pub fn class_and_method(&self) -> Option<(&str, &str)> {
        self.name.rsplit_once('.')
    }

    /// Returns the name behind the last segment of its module: `decode.BatchDecodeWithPagedKVCacheWrapper.run`.
    pub(crate) fn qualified(&self) -> String {
        let module = self.module.rsplit('.').next().unwrap_or_default();
        format!("{module}.{}", self.name)
    }
}

/// Writes `MODULE.NAME`.
impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// The tensors of a call that share a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Arguments before the call.
    Inputs,
    /// Results.
    Outputs,
    /// Arguments that the call wrote into, after it; callbox's own file.
    ArgsAfter,
}

impl Group {
    /// Every group, in the order in which they are written.
    pub const ALL: [Group; 3] = [Group::Inputs, Group::Outputs, Group::ArgsAfter];

    /// Returns the name of the group's file without its extension.
    pub fn stem(self) -> &'static str {
        match self {
            Group::Inputs => "inputs",
            Group::Outputs => "outputs",
            Group::ArgsAfter => "args_after",
        }
    }

    /// Returns the name of the group's file in a format.
    pub fn file_name(self, format: Format) -> String {
        format!("{}.{}", self.stem(), format.extension)
    }
}

/// The parts of a call folder's name:
/// `YYYYMMDD_HHMMSS_mmm_pid<PID>_<function>_call<NNNN>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SlotName {
    /// Local time of the call, `YYYYMMDD_HHMMSS_mmm`.
    pub timestamp: String,
    /// Process id of the recording process.
    pub process_id: u64,
    /// `function` or `ClassName.method`.
    pub function: String,
    /// Number of the call among those of its function in its process, from 1.
    pub call_sequence: u64,
}

impl SlotName {
    /// Takes a folder's name apart; `None` if it is not the name of a call folder.
    pub fn parse(folder: &str) -> Option<SlotName> {
        let timestamp = folder.get(..19)?;
        if !is_timestamp(timestamp) {
            return None;
        }
        let rest = folder.get(19..)?.strip_prefix("_pid")?;
        let (process_id, rest) = rest.split_once('_')?;
        let (function, call_sequence) = rest.rsplit_once("_call")?;
        if function.is_empty() {
            return None;
        }
        Some(SlotName {
            timestamp: timestamp.to_owned(),
            process_id: decimal(process_id)?,
            function: function.to_owned(),
            call_sequence: decimal(call_sequence)?,
        })
    }
}

/// Writes the folder's name.
impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlotName { timestamp, process_id, function, call_sequence } = self;
        write!(f, "{timestamp}_pid{process_id}_{function}_call{call_sequence:04}")
    }
}

/// Tells whether a text has the shape `YYYYMMDD_HHMMSS_mmm`.
pub fn is_timestamp(text: &str) -> bool {
    text.len() == 19
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 15 => byte == b'_',
            _ => byte.is_ascii_digit(),
        })
}

fn decimal(text: &str) -> Option<u64> {
    // `parse` alone would take a leading plus sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_folder_name_survives_writing_and_parsing(
            time in "[0-9]{8}_[0-9]{6}_[0-9]{3}",
            process_id in any::<u64>(),
            function in "[A-Za-z_.]{1,20}(_call[0-9]{1,2})?",
            call_sequence in 0u64..100_000,
        ) {
            let name = SlotName { timestamp: time, process_id, function, call_sequence };
            prop_assert_eq!(SlotName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn any_text_is_parsed_or_refused(folder in any::<String>()) {
            if let Some(name) = SlotName::parse(&folder) {
                prop_assert!(folder.starts_with(&name.timestamp));
            }
        }
    }

    #[test]
    fn dots_and_dunders_belong_to_the_function() {
        let name = SlotName::parse("20261124_191047_655_pid846_ToyWrapper.__init___call0001").unwrap();
        assert_eq!(
            (name.function.as_str(), name.process_id, name.call_sequence),
            ("ToyWrapper.__init__", 846, 1)
        );
        for folder in
            ["graph_flushes", "", "20261124_191047_655_pid846_call0001", "20261124_191047_655_pid+6_f_call1"]
        {
            assert_eq!(SlotName::parse(folder), None, "{folder}");
        }
    }

    #[test]
    fn a_qualified_name_starts_with_the_last_segment_of_the_module() {
        let name = FunctionName::new("flashinfer.decode", "Wrapper.run");
        assert_eq!(name.qualified(), "decode.Wrapper.run");
        assert_eq!(name.to_string(), "flashinfer.decode.Wrapper.run");
        assert_eq!(name.class_and_method(), Some(("Wrapper", "run")));
    }
}
