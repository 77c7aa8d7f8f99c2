//! Where a tensor lives, or a call runs.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The host, or one CUDA device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Device {
    /// Host memory.
    #[default]
    Cpu,
    /// A CUDA device by its index.
    Cuda(u32),
}

/// A text that names no device.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no device: give cpu, cuda or cuda:N")]
pub struct ParseDeviceError(String);

/// Writes the device as torch does: `cpu`, `cuda:0`.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = ParseDeviceError;

    /// Reads `cpu`, `cuda` (the first device) or `cuda:N`.
    fn from_str(text: &str) -> Result<Device, ParseDeviceError> {
        match (text, text.strip_prefix("cuda:")) {
            ("cpu", _) => Ok(Device::Cpu),
            ("cuda", _) => Ok(Device::Cuda(0)),
            (_, Some(index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
                index.parse().map(Device::Cuda).map_err(|_| ParseDeviceError(text.to_owned()))
            }
            (_, _) => Err(ParseDeviceError(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_spelled_as_torch_spells_them() {
        for (text, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(text.parse(), Ok(device));
        }
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:99999999999"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
