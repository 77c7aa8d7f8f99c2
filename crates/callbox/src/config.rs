//! How an application records: from the environment, or built in code.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use callbox_core::{
    Adapters, FailurePolicy, Filter, Level, Limits, LogSink, Recorder, Settings, SinkError, TensorSerializer,
    UsageStore,
};
use callbox_format_pt::PtSerializer;
use callbox_format_safetensors::SafetensorsSerializer;
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use callbox_sink_stdio::{LogDestination, StdioSink, with_process_id};
use callbox_system::{SystemClock, SystemHost};

use crate::disclosure::disclose;
use crate::variables::{Variables, Warning, gigabytes, whole_number};
use crate::versions;

/// The prefix of FlashInfer's own variables.
pub const DEFAULT_PREFIX: &str = "FLASHINFER_";

/// What is recorded, and where it goes. The defaults are FlashInfer's.
///
/// | variable | field | default |
/// |---|---|---|
/// | `FLASHINFER_LOGLEVEL` | `level` | 0 |
/// | `FLASHINFER_LOGDEST` | `log_destination` | `stdout` |
/// | `FLASHINFER_DUMP_DIR` | `dump_dir` | `flashinfer_dumps` |
/// | `FLASHINFER_DUMP_MAX_SIZE_GB` | `limits.max_bytes` | 20 |
/// | `FLASHINFER_DUMP_MAX_COUNT` | `limits.max_count` | 1000 |
/// | `FLASHINFER_DUMP_INCLUDE` | `include` | (empty) |
/// | `FLASHINFER_DUMP_EXCLUDE` | `exclude` | (empty) |
/// | `FLASHINFER_DUMP_SAFETENSORS` | `format` | 0 |
/// | `FLASHINFER_DUMP_DURABILITY` | `durability` | `process` |
/// | `FLASHINFER_DUMP_MIN_FREE_GB` | `limits.min_free_bytes` | 0.25 |
/// | `FLASHINFER_DUMP_LIMIT_SCOPE` | `limit_scope` | `process` |
/// | `FLASHINFER_DUMP_ON_FAILURE` | `on_failure` | `skip` |
/// | `FLASHINFER_DUMP_HASH` | `hashing` | `xxh3` |
///
/// `%i` stands for the process id in `FLASHINFER_LOGDEST` and `FLASHINFER_DUMP_DIR`.
///
/// ```no_run
/// use callbox::{Config, Level};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = Config { level: Level::Dumps, include: "*norm*".to_owned(), ..Config::default() };
/// let recording = callbox::install(config.recorder()?);
/// // ... calls of annotated functions are recorded here ...
/// drop(recording);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How much is recorded.
    pub level: Level,
    /// Where the call log goes.
    pub log_destination: LogDestination,
    /// The folder of the dumps; `%i` stands for the process id.
    pub dump_dir: PathBuf,
    /// The most that is dumped.
    pub limits: Limits,
    /// Whether the limits are those of this process, or of all processes of its session together.
    pub limit_scope: LimitScope,
    /// Patterns of functions to record, between commas; empty: all.
    pub include: String,
    /// Patterns of functions not to record, between commas.
    pub exclude: String,
    /// The format of the files of tensors.
    pub format: DumpFormat,
    /// Which crash a dump survives.
    pub durability: Durability,
    /// What becomes of later calls when dumping fails: they are skipped until it works again, or for good.
    pub on_failure: FailurePolicy,
    /// Which hash of each file its record has, to find damage by.
    pub hashing: Hashing,
}

/// A format of the files of tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DumpFormat {
    /// `torch.save` files, `.pt`: strides, offsets and shared storage are kept.
    #[default]
    Torch,
    /// `.safetensors` files: every tensor is contiguous.
    Safetensors,
}

/// Whose calls and bytes the limits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LimitScope {
    /// Each process has the whole of the limits for itself.
    #[default]
    Process,
    /// All processes that write one session have them together, those that ended among them. What a process had
    /// reserved when it died stays counted: less may be dumped than is allowed, never more.
    Session,
}

/// A number of bytes that is shown in units of 2^30.
struct Gigabytes(u64);

impl fmt::Display for Gigabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 as f64 / f64::from(1 << 30))
    }
}

/// Writes what `FLASHINFER_DUMP_SAFETENSORS` has to say for it.
impl fmt::Display for DumpFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DumpFormat::Torch => "0 (torch.save files, .pt)",
            DumpFormat::Safetensors => "1 (.safetensors files)",
        })
    }
}

/// Writes the name as `FLASHINFER_DUMP_LIMIT_SCOPE` spells it.
impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitScope::Process => "process",
            LimitScope::Session => "session",
        })
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            level: Level::Off,
            log_destination: LogDestination::Stdout,
            dump_dir: PathBuf::from("flashinfer_dumps"),
            limits: Limits::default(),
            limit_scope: LimitScope::Process,
            include: String::new(),
            exclude: String::new(),
            format: DumpFormat::Torch,
            durability: Durability::Process,
            on_failure: FailurePolicy::Skip,
            hashing: Hashing::Xxh3,
        }
    }
}

impl Config {
    /// Reads the environment, with FlashInfer's prefix or another. Bad values give warnings and defaults.
    pub fn from_env(prefix: &str) -> (Config, Vec<Warning>) {
        #[expect(clippy::disallowed_methods, reason = "the one place where recording reads the environment")]
        Config::from_variables(prefix, &|name| std::env::var_os(name))
    }

    /// Reads variables from anywhere: `get` gives the value of a variable by its full name.
    pub fn from_variables(prefix: &str, get: &dyn Fn(&str) -> Option<OsString>) -> (Config, Vec<Warning>) {
        let mut variables = Variables::new(prefix, get);
        let default = Config::default();
        let number = "a whole number, 0 or more";
        let level = variables.parsed("LOGLEVEL", number, 0, whole_number);
        let max_count = variables.parsed("DUMP_MAX_COUNT", number, default.limits.max_count, whole_number);
        let mut size = |name, default| {
            let expected = "a number of gigabytes, 0 or more";
            variables.parsed(name, expected, Gigabytes(default), |text| gigabytes(text).map(Gigabytes)).0
        };
        let max_bytes = size("DUMP_MAX_SIZE_GB", default.limits.max_bytes);
        let min_free_bytes = size("DUMP_MIN_FREE_GB", default.limits.min_free_bytes);
        let limit_scope =
            variables.parsed("DUMP_LIMIT_SCOPE", "`process` or `session`", default.limit_scope, |text| {
                match text.trim() {
                    "process" => Some(LimitScope::Process),
                    "session" => Some(LimitScope::Session),
                    _ => None,
                }
            });
        let format =
            variables.parsed("DUMP_SAFETENSORS", "0 or 1", default.format, |text| match text.trim() {
                "0" => Some(DumpFormat::Torch),
                "1" => Some(DumpFormat::Safetensors),
                _ => None,
            });
        let durability =
            variables.parsed("DUMP_DURABILITY", "`process` or `system`", default.durability, |text| {
                text.trim().parse().ok()
            });
        let on_failure =
            variables.parsed("DUMP_ON_FAILURE", "`skip` or `stop`", default.on_failure, |text| {
                text.trim().parse().ok()
            });
        let hashing = variables.parsed("DUMP_HASH", "`xxh3`, `blake3` or `off`", default.hashing, |text| {
            text.trim().parse().ok()
        });
        let config = Config {
            level: Level::from_number(level),
            log_destination: variables.raw("LOGDEST").map_or(default.log_destination, LogDestination::parse),
            dump_dir: variables.raw("DUMP_DIR").map_or(default.dump_dir, PathBuf::from),
            limits: Limits { max_count, max_bytes, min_free_bytes },
            limit_scope,
            include: variables.text("DUMP_INCLUDE"),
            exclude: variables.text("DUMP_EXCLUDE"),
            format,
            durability,
            on_failure,
            hashing,
        };
        (config, variables.into_warnings())
    }

    /// Builds the recorder. An error: the log's file could not be opened.
    ///
    /// At level 10 the first one says on standard error that tensors go to disk.
    pub fn recorder(&self) -> Result<Recorder, SinkError> {
        let log: Option<Arc<dyn LogSink>> = match self.level {
            Level::Off => None,
            Level::Names | Level::Values | Level::Statistics | Level::Dumps => {
                Some(Arc::new(StdioSink::open(&self.log_destination)?))
            }
        };
        let dumps = Arc::new(FsSink::new(self.sink_options()));
        let usage = match self.limit_scope {
            LimitScope::Process => None,
            LimitScope::Session => Some(dumps.clone() as Arc<dyn UsageStore>),
        };
        if self.level == Level::Dumps {
            disclose(self, &self.folder());
        }
        let settings = Settings {
            level: self.level,
            filter: Filter::new(&self.include, &self.exclude),
            limits: self.limits,
            on_failure: self.on_failure,
            system: versions::system_lines(self.level),
            versions: versions::versions(),
        };
        let adapters = Adapters {
            log,
            dumps: Some(dumps),
            usage,
            clock: Arc::new(SystemClock::new()),
            host: Arc::new(SystemHost::new()),
        };
        Ok(Recorder::new(settings, adapters))
    }

    /// Returns the folder of the dumps of this process.
    fn folder(&self) -> PathBuf {
        with_process_id(&self.dump_dir, std::process::id())
    }

    fn sink_options(&self) -> SinkOptions {
        let torch: Arc<dyn TensorSerializer> = Arc::new(PtSerializer);
        let (format, fallback) = match self.format {
            DumpFormat::Torch => (torch, None),
            DumpFormat::Safetensors => {
                let safetensors: Arc<dyn TensorSerializer> = Arc::new(SafetensorsSerializer);
                (safetensors, Some(torch))
            }
        };
        let root = self.folder();
        SinkOptions { root, format, fallback, durability: self.durability, hashing: self.hashing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads variables given as `NAME=value`, without the prefix.
    fn read(variables: &[(&str, &str)]) -> (Config, Vec<Warning>) {
        let get = |name: &str| {
            let name = name.strip_prefix("FLASHINFER_")?;
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Config::from_variables(DEFAULT_PREFIX, &get)
    }

    #[test]
    fn without_variables_the_documented_defaults_hold() {
        let (config, warnings) = read(&[]);
        assert_eq!((config.clone(), warnings.len()), (Config::default(), 0));
        assert_eq!(config.level, Level::Off);
        assert_eq!(config.dump_dir, PathBuf::from("flashinfer_dumps"));
        let (max_count, max_bytes, min_free_bytes) = (1000, 20 << 30, 1 << 28);
        assert_eq!(config.limits, Limits { max_count, max_bytes, min_free_bytes });
    }

    #[test]
    fn every_variable_is_read() {
        let (config, warnings) = read(&[
            ("LOGLEVEL", " 10 "),
            ("LOGDEST", "logs/%i.log"),
            ("DUMP_DIR", "dumps_%i"),
            ("DUMP_MAX_SIZE_GB", "0.5"),
            ("DUMP_MAX_COUNT", "+7"),
            ("DUMP_INCLUDE", "*norm*"),
            ("DUMP_EXCLUDE", "*.plan"),
            ("DUMP_SAFETENSORS", "1"),
            ("DUMP_DURABILITY", "system"),
            ("DUMP_MIN_FREE_GB", "0"),
            ("DUMP_LIMIT_SCOPE", "session"),
            ("DUMP_ON_FAILURE", "stop"),
            ("DUMP_HASH", "blake3"),
        ]);
        assert_eq!(warnings, []);
        let expected = Config {
            level: Level::Dumps,
            log_destination: LogDestination::File("logs/%i.log".into()),
            dump_dir: "dumps_%i".into(),
            limits: Limits { max_count: 7, max_bytes: 1 << 29, min_free_bytes: 0 },
            limit_scope: LimitScope::Session,
            include: "*norm*".to_owned(),
            exclude: "*.plan".to_owned(),
            format: DumpFormat::Safetensors,
            durability: Durability::System,
            on_failure: FailurePolicy::Stop,
            hashing: Hashing::Blake3,
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn u17_u30_a_bad_value_is_one_warning_and_the_default() {
        for (variable, values) in [
            ("LOGLEVEL", &["abc", "3.0", "-1", "0x3", "nan", "1e1"][..]),
            ("DUMP_MAX_SIZE_GB", &["abc", "20GB", "nan", "-1", "-inf"]),
            ("DUMP_MAX_COUNT", &["abc", "1e3", "-1", "2.5"]),
            ("DUMP_SAFETENSORS", &["yes", "2", "true"]),
            ("DUMP_DURABILITY", &["fsync", "SYSTEM"]),
            ("DUMP_MIN_FREE_GB", &["1 GB", "nan", "-1"]),
            ("DUMP_LIMIT_SCOPE", &["host", "Session", "1"]),
            ("DUMP_ON_FAILURE", &["retry", "Stop", "1"]),
            ("DUMP_HASH", &["md5", "XXH3"]),
        ] {
            for value in values {
                let (config, warnings) = read(&[(variable, value)]);
                assert_eq!(config, Config::default(), "{variable}={value}");
                let [warning] = warnings.as_slice() else { panic!("{variable}={value}: {warnings:?}") };
                assert!(warning.to_string().starts_with(&format!("FLASHINFER_{variable}=\"{value}\"")));
            }
        }
    }

    #[test]
    fn an_empty_variable_is_as_good_as_none() {
        let empty = ["LOGLEVEL", "LOGDEST", "DUMP_DIR", "DUMP_MAX_SIZE_GB", "DUMP_SAFETENSORS"]
            .map(|name| (name, ""));
        assert_eq!(read(&empty), (Config::default(), Vec::new()));
    }

    #[test]
    fn another_prefix_reads_other_variables() {
        let get = |name: &str| (name == "ENGINE_LOGLEVEL").then(|| OsString::from("3"));
        assert_eq!(Config::from_variables("ENGINE_", &get).0.level, Level::Values);
        assert_eq!(Config::from_variables(DEFAULT_PREFIX, &get).0.level, Level::Off);
    }
}
