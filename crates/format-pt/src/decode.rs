//! From a file to its tensors.

use callbox_core::{Bytes, FormatError, Quoted, TensorMap};

use crate::container::{Archive, BYTE_ORDER, PICKLE, VERSION};
use crate::pickle::{self, Value};
use crate::tensor::Tensors;

/// Versions of the container that torch reads; it has written 3 since 1.6.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;

pub(crate) fn decode(bytes: &Bytes) -> Result<TensorMap, FormatError> {
    let archive = Archive::open(bytes)?;
    check_kind(&archive)?;
    let program = archive.get(PICKLE).ok_or_else(|| {
        FormatError::Truncated(format!(
            "there is no {PICKLE}: torch.save gave up on these tensors"
        ))
    })?;
    let pickle = pickle::read(&program)?;
    let Value::Dict(top) = pickle.top else {
        return Err(FormatError::Unsupported(format!(
            "the file holds a {}, not a dict of tensors",
            pickle.top.kind()
        )));
    };
    let mut tensors = Tensors::new(&archive, &pickle);
    let mut map = TensorMap::default();
    for &[key, value] in pickle.dict(top) {
        let key = read_key(key)?;
        if map.get(key).is_some() {
            return Err(FormatError::Inconsistent(format!(
                "there are two tensors {}",
                Quoted(key.as_bytes())
            )));
        }
        map.insert(key.to_owned(), tensors.build(key, value)?);
    }
    Ok(map)
}

/// Fails for archives that torch makes of other things than tensors, or made on a big-endian machine.
fn check_kind(archive: &Archive<'_>) -> Result<(), FormatError> {
    if archive.get("constants.pkl").is_some() || archive.has_folder("code/") {
        return Err(FormatError::Unsupported(
            "a TorchScript program, not a file of tensors".to_owned(),
        ));
    }
    match archive.get(BYTE_ORDER).as_deref() {
        None | Some(b"little") => {}
        Some(order) => {
            return Err(FormatError::Unsupported(format!(
                "byte order {}; only `little` is read",
                Quoted(order)
            )));
        }
    }
    let version = archive.get(VERSION);
    let number = version.as_deref().map(|text| {
        let text = std::str::from_utf8(text).unwrap_or_default();
        text.trim_ascii_end().parse().unwrap_or(0)
    });
    match (number, version) {
        (Some(number), Some(text)) if !VERSIONS.contains(&number) => Err(FormatError::Unsupported(format!(
            "container version {}; versions 1 to 10 are read",
            Quoted(&text)
        ))),
        _ => Ok(()),
    }
}

fn read_key<'a>(key: Value<'a>) -> Result<&'a str, FormatError> {
    match key {
        Value::Text(text) => std::str::from_utf8(text)
            .map_err(|_| FormatError::Unsupported(format!("the key {} is not Unicode text", Quoted(text)))),
        other => Err(FormatError::Unsupported(format!(
            "a {} for a key; tensors are found by text",
            other.kind()
        ))),
    }
}
