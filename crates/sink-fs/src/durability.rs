//! What a dump survives.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Which crash a dump survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// That of the process: what was written stays, however the process ends.
    #[default]
    Process,
    /// That of the whole system, a reset or a loss of power: every file and folder is synced before the line that
    /// speaks of it, and the line before its call goes on. Costs a few hundred microseconds a sync.
    System,
}

/// A text that names no durability.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no durability: give process or system")]
pub struct ParseDurabilityError(String);

/// Writes the name as `FLASHINFER_DUMP_DURABILITY` spells it.
impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Durability::Process => "process",
            Durability::System => "system",
        })
    }
}

impl FromStr for Durability {
    type Err = ParseDurabilityError;

    /// Reads `process` or `system`.
    fn from_str(text: &str) -> Result<Durability, ParseDurabilityError> {
        match text {
            "process" => Ok(Durability::Process),
            "system" => Ok(Durability::System),
            other => Err(ParseDurabilityError(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_durability_is_read_as_it_is_written() {
        for durability in [Durability::Process, Durability::System] {
            assert_eq!(durability.to_string().parse(), Ok(durability));
        }
        assert!("System".parse::<Durability>().is_err());
    }
}
