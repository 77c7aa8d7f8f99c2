//! The hostile files of the test kit, as inputs of the targets that read such files.

use callbox_fuzz::Target;
use callbox_testkit::hostile::{Kind, of_kind};

/// Returns them with their names; longer ones than a target is given are left out.
pub(crate) fn files(target: &Target) -> Vec<(String, Vec<u8>)> {
    let kind = match target.name {
        "pt_file" => Kind::Pt,
        "safetensors" => Kind::Safetensors,
        "json_line" | "metadata" => Kind::Records,
        _ => return Vec::new(),
    };
    let short = of_kind(kind).filter(|case| case.bytes.len() <= target.max_len);
    short.map(|case| (case.name, case.bytes)).collect()
}
