//! Recording as the environment asks for it.

use std::io::{self, Write};

use callbox_core::Recorder;
use callbox_sink_stdio::LogDestination;

use crate::config::{Config, DEFAULT_PREFIX};
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
///
/// ```
/// let _recording = callbox::from_env_with_prefix("MYENGINE_");
/// ```
pub fn from_env_with_prefix(prefix: &str) -> Guard {
    let (config, warnings) = Config::from_env(prefix);
    for warning in warnings {
        warn(&warning.to_string());
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

/// Says something to the person who runs the program.
pub(crate) fn warn(text: &str) {
    // Where nobody can be told, the program goes on all the same.
    writeln!(io::stderr(), "callbox: {text}").ok();
}
