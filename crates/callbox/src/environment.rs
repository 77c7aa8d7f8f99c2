//! Recording as the environment asks for it.

use callbox_core::{Level, Recorder};
use callbox_sink_stdio::LogDestination;

use crate::config::{Config, DEFAULT_PREFIX, DumpFormat};
use crate::global::{Guard, install};

/// Reads FlashInfer's environment variables and installs the recorder that they ask for; see [`Config`].
///
/// Nothing stops the program: a bad value, or a log that cannot be opened, is a warning on standard error.
///
/// ```
/// let _recording = callbox::from_env(); // until the end of `main`
/// ```
pub fn from_env() -> Guard {
    from_env_with_prefix(DEFAULT_PREFIX)
}

/// Does what [`from_env`] does, with another prefix: `MYENGINE_` reads `MYENGINE_LOGLEVEL`.
pub fn from_env_with_prefix(prefix: &str) -> Guard {
    let (config, warnings) = Config::from_env(prefix);
    for warning in warnings {
        warn(&warning.to_string());
    }
    if config.level == Level::Dumps {
        warn(&disclosure(&config));
    }
    install(recorder(config))
}

/// Opens the log; where that fails, standard error takes its place.
fn recorder(config: Config) -> Recorder {
    match config.recorder() {
        Ok(recorder) => recorder,
        Err(error) => {
            warn(&format!("{}; the call log goes to standard error", callbox_core::error::chain(&error)));
            let config = Config { log_destination: LogDestination::Stderr, ..config };
            config.recorder().expect("standard error needs no opening")
        }
    }
}

/// Says that the contents of tensors go to disk: which, where and how.
fn disclosure(config: &Config) -> String {
    let patterns = |list: &str| if list.is_empty() { "(none)".to_owned() } else { format!("`{list}`") };
    let format = match config.format {
        DumpFormat::Torch => "torch.save files (.pt)",
        DumpFormat::Safetensors => ".safetensors files",
    };
    format!(
        "level 10 writes the contents of tensors to disk: to {} as {format}, at most {} calls and {:.1} GiB; \
         include {}, exclude {}",
        config.dump_dir.display(),
        config.limits.max_count,
        config.limits.max_bytes as f64 / f64::from(1 << 30),
        patterns(&config.include),
        patterns(&config.exclude),
    )
}

fn warn(text: &str) {
    #[expect(clippy::print_stderr, reason = "the program has asked for recording and has to hear of it")]
    {
        eprintln!("callbox: {text}");
    }
}
