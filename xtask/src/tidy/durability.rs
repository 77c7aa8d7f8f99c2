//! Renames and syncs stand in one file, so that no call site can forget its half of them.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

/// The file that says when to rename and to sync, the seam that declares both, and the one that asks the operating
/// system to.
pub(super) const FILES: [&str; 3] =
    ["crates/sink-fs/src/disk.rs", "crates/sink-fs/src/files/mod.rs", "crates/sink-fs/src/files/real.rs"];
const CALLS: [&str; 8] =
    ["fdatasync", "fsync", "rename", "renameat", "renameat_with", "sync_all", "sync_data", "syncfs"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.product().filter(|(file, _)| !FILES.contains(&file.path.as_str())) {
        for call in CALLS {
            let calls = find_word(&source.product, call).filter(|(_, behind)| behind.starts_with('('));
            findings.extend(calls.map(|(line, _)| {
                let message =
                    format!("`{call}` outside of the files that xtask/src/tidy/durability.rs names");
                Finding::new(&file.path, line, message)
            }));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renames_and_syncs_elsewhere_are_found() {
        let check = |text| check(&Tree::of(&[("crates/sink-fs/src/a.rs", text)])).len();
        assert_eq!(check("fn f() { fs::rename(a, b)?; file.sync_all()?; }"), 2);
        assert_eq!(check("#[serde(rename = \"a\")] struct A { rename: u8 }"), 0);
    }
}
