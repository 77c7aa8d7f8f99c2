//! Floats in JSON, which has neither NaN nor infinity.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A float that may be none of JSON's: those are the strings `NaN`, `Infinity` and `-Infinity`.
#[derive(Clone, Copy, Debug)]
pub struct JsonFloat(pub f64);

impl Serialize for JsonFloat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            value if value.is_nan() => serializer.serialize_str("NaN"),
            f64::INFINITY => serializer.serialize_str("Infinity"),
            f64::NEG_INFINITY => serializer.serialize_str("-Infinity"),
            value => serializer.serialize_f64(value),
        }
    }
}

impl<'de> Deserialize<'de> for JsonFloat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonFloat, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelled {
            Float(f64),
            Name(String),
        }
        match Spelled::deserialize(deserializer)? {
            Spelled::Float(value) => Ok(JsonFloat(value)),
            // Rust reads the three names as JSON's readers write them.
            Spelled::Name(name) => name.parse().map(JsonFloat).map_err(serde::de::Error::custom),
        }
    }
}
