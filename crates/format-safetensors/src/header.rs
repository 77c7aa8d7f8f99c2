//! The header in front of the data: what the file says of each tensor.
//!
//! The format is that of <https://github.com/huggingface/safetensors#format>: the header's length in eight
//! bytes, the header as JSON, then the data without gaps. The safetensors crate checks offsets, sizes and cover.
//! What it lets pass is refused here: a name that occurs twice.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::mem;

use callbox_core::{FormatError, Quoted};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor, value};

use crate::dtype::from_safetensors;

/// Bytes that hold the header's length; the header fills up to a multiple of them.
const LENGTH_BYTES: usize = 8;
/// Longest header that is read or written, in bytes. The format allows 100 MB, but a header of that length takes a
/// gigabyte of memory.
const LONGEST_HEADER: usize = 16 << 20;

/// Most tensors that are read or written: far more than one call can have.
const MOST_TENSORS: usize = 1 << 14;

/// The entry that is no tensor.
pub(crate) const METADATA: &str = "__metadata__";

/// Reads the header of a whole file and where its data begin. `Ok`: the tensors' bytes follow each other from
/// there to the end of the file.
pub(crate) fn read(file: &[u8]) -> Result<(Metadata, usize), FormatError> {
    let (json, data) = split(file)?;
    let Header { entries, tensors } = serde_json::from_slice(json).map_err(|error| invalid(&error))?;
    check_count(tensors)?;
    let mut names = HashSet::with_capacity(entries.len());
    for (name, _) in &entries {
        if !names.insert(name.as_str()) {
            return Err(FormatError::Inconsistent(format!(
                "there are two tensors {}",
                Quoted(name.as_bytes())
            )));
        }
    }
    let mut tensors = entries.into_iter().map(Entry::into_info).collect::<Result<Vec<_>, _>>()?;
    tensors.sort_by_key(|(_, info)| info.data_offsets);

    let metadata = Metadata::new(None, tensors).map_err(|error| invalid(&error))?;
    if metadata.data_len() != data.len() {
        return Err(FormatError::Inconsistent(format!(
            "the header describes {} bytes of data, the file has {}",
            metadata.data_len(),
            data.len()
        )));
    }
    Ok((metadata, file.len() - data.len()))
}

/// Writes a header with its length in front, for tensors in the order of their data.
pub(crate) fn write(tensors: Vec<(String, TensorInfo)>) -> Result<Vec<u8>, FormatError> {
    check_count(tensors.len())?;
    let metadata = Metadata::new(None, tensors).map_err(|error| invalid(&error))?;
    let json = serde_json::to_vec(&metadata).map_err(|error| invalid(&error))?;
    let length = json.len().next_multiple_of(LENGTH_BYTES);
    if length > LONGEST_HEADER {
        return Err(too_long(length as u64));
    }
    let mut header = Vec::with_capacity(LENGTH_BYTES + length);
    header.extend((length as u64).to_le_bytes());
    header.extend(json);
    header.resize(LENGTH_BYTES + length, b' ');
    Ok(header)
}

/// Checks what the first bytes of a file say: the header's length, and how it begins.
pub(crate) fn check_head(head: &[u8]) -> Result<(), FormatError> {
    match head.split_first_chunk::<LENGTH_BYTES>() {
        Some((length, _)) if u64::from_le_bytes(*length) > LONGEST_HEADER as u64 => {
            Err(too_long(u64::from_le_bytes(*length)))
        }
        Some((_, json)) => check_begin(json),
        None => Err(FormatError::Truncated(format!("no header in a file of {} bytes", head.len()))),
    }
}

fn check_begin(json: &[u8]) -> Result<(), FormatError> {
    if json.starts_with(b"{") {
        return Ok(());
    }
    let reason = "its header does not begin with `{`".to_owned();
    Err(FormatError::NotThisFormat { format: "safetensors", reason })
}

/// Splits a file into header and data.
fn split(file: &[u8]) -> Result<(&[u8], &[u8]), FormatError> {
    let cut = |what: String| FormatError::Truncated(format!("{what} in a file of {} bytes", file.len()));
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(cut("no header".to_owned()));
    };
    let length = u64::from_le_bytes(*length);
    if length > LONGEST_HEADER as u64 {
        return Err(too_long(length));
    }
    let Some((json, data)) = rest.split_at_checked(length as usize) else {
        return Err(cut(format!("a header of {length} bytes")));
    };
    check_begin(json)?;
    Ok((json, data))
}

fn check_count(tensors: usize) -> Result<(), FormatError> {
    if tensors > MOST_TENSORS {
        return Err(FormatError::Limit(format!("{tensors} tensors, at most {MOST_TENSORS} are read")));
    }
    Ok(())
}

fn too_long(length: u64) -> FormatError {
    FormatError::Limit(format!("a header of {length} bytes, at most {LONGEST_HEADER} are read"))
}

fn invalid(error: &dyn Error) -> FormatError {
    FormatError::Inconsistent(format!("the header: {error}"))
}

/// What a header holds.
struct Header {
    /// In the order of the header; of too many, those that are one too many are only counted.
    entries: Vec<(String, Entry)>,
    tensors: usize,
}

/// One tensor, as the header spells it.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

impl Entry {
    fn into_info((name, entry): (String, Entry)) -> Result<(String, TensorInfo), FormatError> {
        let dtype = shared_dtype(&entry.dtype).ok_or_else(|| {
            FormatError::Unsupported(format!(
                "tensor {} has the dtype {}",
                Quoted(name.as_bytes()),
                Quoted(entry.dtype.as_bytes())
            ))
        })?;
        let info = TensorInfo { dtype, shape: entry.shape, data_offsets: entry.data_offsets };
        Ok((name, info))
    }
}

/// Finds a dtype by its name in a header: `BF16`; `None` where torch or the format has no such dtype.
fn shared_dtype(name: &str) -> Option<Dtype> {
    let dtype: Result<_, value::Error> = Dtype::deserialize(name.into_deserializer());
    dtype.ok().filter(|dtype| from_safetensors(*dtype).is_some())
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with one entry a tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut entries, mut tensors) = (Vec::new(), 0);
        let mut has_metadata = false;
        while let Some(name) = map.next_key::<String>()? {
            if name != METADATA {
                tensors += 1;
                let entry = map.next_value()?;
                if tensors <= MOST_TENSORS {
                    entries.push((name, entry));
                }
            } else if mem::replace(&mut has_metadata, true) {
                return Err(A::Error::duplicate_field(METADATA));
            } else {
                map.next_value::<HashMap<String, String>>()?;
            }
        }
        Ok(Header { entries, tensors })
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::DType;

    use super::*;
    use crate::dtype::to_safetensors;

    #[test]
    fn the_dtypes_of_both_sides_are_found_by_name_and_no_others() {
        for dtype in DType::all().filter_map(to_safetensors) {
            assert_eq!(shared_dtype(&dtype.to_string()), Some(dtype));
        }
        assert_eq!(shared_dtype("F16"), Some(Dtype::F16));
        for name in ["F6_E2M3", "C128", "float16", "f16", ""] {
            assert_eq!(shared_dtype(name), None, "{name}");
        }
    }
}
