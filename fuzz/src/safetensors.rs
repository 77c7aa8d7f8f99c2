//! Safetensors files.

use callbox_format_safetensors::SafetensorsSerializer;

use crate::tensors::check_file;

/// Reads the input as a file; and once more with the length in front made that of the header, which a mutation is
/// unlikely to keep true.
pub(crate) fn file(input: &[u8]) {
    check_file(&SafetensorsSerializer, input);
    let Some(json) = input.get(8..) else { return };
    // The header ends where its braces do.
    let mut depth = 0usize;
    let end = json.iter().position(|byte| {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    let len = end.map_or(json.len(), |end| end + 1);
    let file = [(len as u64).to_le_bytes().as_slice(), json].concat();
    if file != input {
        check_file(&SafetensorsSerializer, &file);
    }
}
