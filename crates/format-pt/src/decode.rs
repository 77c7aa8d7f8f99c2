//! From a file to its tensors.

use callbox_core::{Bytes, FormatError, Quoted, TensorMap};

use crate::container::{Archive, BYTE_ORDER, PICKLE, VERSION};
use crate::pickle::{self, Value};
use crate::tensor::Tensors;

/// Versions of the container that torch reads; it has written 3 since 1.6.
const VERSIONS: std::ops::RangeInclusive<u32> = 1..=10;
/// Far more than one call can have; keys may share a tensor, so the file's size alone is no bound.
pub(crate) const MOST_TENSORS: usize = 1 << 14;

pub(crate) fn decode(bytes: &Bytes) -> Result<TensorMap, FormatError> {
    let archive = Archive::open(bytes)?;
    check_version(&archive)?;
    let program = archive.get(PICKLE).ok_or_else(|| {
        FormatError::Truncated(format!("there is no {PICKLE}: torch.save gave up on these tensors"))
    })?;
    let pickle = pickle::read(&program)?;
    let Value::Dict(top) = pickle.top else {
        return Err(FormatError::Unsupported(format!(
            "the file holds {}, not a dict of tensors",
            pickle.top.kind()
        )));
    };
    let entries = pickle.dict(top);
    if entries.len() > MOST_TENSORS {
        return Err(FormatError::Limit(format!(
            "{} tensors, at most {MOST_TENSORS} are read",
            entries.len()
        )));
    }
    let mut tensors = Tensors::new(&archive, &pickle);
    let mut map = TensorMap::default();
    archive.unchecked().iter().for_each(|&entry| map.note_unchecked(entry.to_owned()));
    for &[key, value] in entries {
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

/// Fails for files of big-endian machines and of container versions to come.
fn check_version(archive: &Archive<'_>) -> Result<(), FormatError> {
    match archive.get(BYTE_ORDER).as_deref() {
        None | Some(b"little") => {}
        Some(order) => {
            return Err(FormatError::Unsupported(format!(
                "byte order {}; only `little` is read",
                Quoted(order)
            )));
        }
    }
    if let Some(version) = archive.get(VERSION) {
        let text = std::str::from_utf8(&version).unwrap_or_default();
        let number = text.trim_ascii_end().parse();
        if !number.is_ok_and(|number: u32| VERSIONS.contains(&number)) {
            return Err(FormatError::Unsupported(format!(
                "container version {}; versions 1 to 10 are read",
                Quoted(&version)
            )));
        }
    }
    Ok(())
}

fn read_key<'a>(key: Value<'a>) -> Result<&'a str, FormatError> {
    match key {
        Value::Text(text) => std::str::from_utf8(text)
            .map_err(|_| FormatError::Unsupported(format!("the key {} is not Unicode text", Quoted(text)))),
        other => {
            Err(FormatError::Unsupported(format!("{} for a key; tensors are found by text", other.kind())))
        }
    }
}
