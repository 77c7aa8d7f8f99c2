//! Dtypes and devices.

use callbox_core::{DType, Device, LiveValue, OwnedValue, Value};
use candle_core::DeviceLocation;

use crate::from_value::{FromValue, FromValueError};
use crate::python_class::{opaque, text_of};
use crate::to_value::ToValue;

/// The dtypes that both sides have. candle's other ones are of less than a byte.
const DTYPES: [(candle_core::DType, DType); 11] = [
    (candle_core::DType::U8, DType::UInt8),
    (candle_core::DType::U32, DType::UInt32),
    (candle_core::DType::I16, DType::Int16),
    (candle_core::DType::I32, DType::Int32),
    (candle_core::DType::I64, DType::Int64),
    (candle_core::DType::BF16, DType::BFloat16),
    (candle_core::DType::F16, DType::Float16),
    (candle_core::DType::F32, DType::Float32),
    (candle_core::DType::F64, DType::Float64),
    (candle_core::DType::F8E4M3, DType::Float8E4M3Fn),
    (candle_core::DType::F8E8M0, DType::Float8E8M0Fnu),
];

pub(super) fn from_candle(dtype: candle_core::DType) -> Option<DType> {
    DTYPES.iter().find(|(candle, _)| *candle == dtype).map(|(_, ours)| *ours)
}

/// Finds candle's dtype for one of ours.
pub(super) fn to_candle(dtype: DType) -> Result<candle_core::DType, FromValueError> {
    let found = DTYPES.iter().find(|(_, ours)| *ours == dtype).map(|(candle, _)| *candle);
    found.ok_or_else(|| FromValueError::Text { wanted: "dtype of candle", text: dtype.to_string() })
}

/// Recorded by torch's name, or as an opaque `DType` where torch has none.
impl ToValue for candle_core::DType {
    fn to_value(&self) -> LiveValue<'_> {
        match from_candle(*self) {
            Some(dtype) => Value::dtype(dtype),
            None => opaque("DType", self.as_str().to_owned()),
        }
    }
}

impl FromValue for candle_core::DType {
    fn from_value(value: OwnedValue) -> Result<candle_core::DType, FromValueError> {
        match value {
            Value::Opaque { class, repr } if class == "DType" => {
                let text = repr.to_string();
                text.parse().map_err(|_| FromValueError::Text { wanted: "dtype of candle", text })
            }
            other => to_candle(DType::from_value(other)?),
        }
    }
}

/// Recorded as torch's `device`; a Metal one as `metal:N`.
impl ToValue for candle_core::Device {
    fn to_value(&self) -> LiveValue<'_> {
        let text = match self.location() {
            DeviceLocation::Cpu => "cpu".to_owned(),
            DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
            DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
        };
        opaque("device", text)
    }
}

/// Opens the device: fails where candle was built without it, or it is not there.
impl FromValue for candle_core::Device {
    fn from_value(value: OwnedValue) -> Result<candle_core::Device, FromValueError> {
        let text = text_of(value, "device", "a device")?;
        let opened = match (text.parse(), text.strip_prefix("metal:").map(str::parse)) {
            (Ok(Device::Cpu), _) => Ok(candle_core::Device::Cpu),
            (Ok(Device::Cuda(index)), _) => candle_core::Device::new_cuda(index as usize),
            (Err(_), Some(Ok(index))) => candle_core::Device::new_metal(index),
            (Err(_), Some(Err(_)) | None) => return Err(FromValueError::Text { wanted: "device", text }),
        };
        opened.map_err(super::tensor::refused)
    }
}

/// The device that a record names; one that is neither host nor CUDA counts as the host that it was copied to.
pub(super) fn recorded_device(device: &candle_core::Device) -> Device {
    match device.location() {
        DeviceLocation::Cuda { gpu_id } => u32::try_from(gpu_id).map_or(Device::Cpu, Device::Cuda),
        DeviceLocation::Cpu | DeviceLocation::Metal { .. } => Device::Cpu,
    }
}
