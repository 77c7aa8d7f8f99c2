//! Each package has a README that is also its documentation, and takes the workspace's lints.

use super::Finding;
use super::manifest::Manifest;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in tree.packages() {
        let manifest_path = format!("{folder}/Cargo.toml");
        let manifest = tree.file(&manifest_path).map_or("", |file| &file.text);
        let lints = Manifest::parse(manifest)
            .table("lints")
            .any(|entry| entry.key == "workspace" && entry.value == "true");
        if !lints {
            let message = "add `[lints]` with `workspace = true`";
            findings.push(Finding::new(&manifest_path, 1, message));
        }
        if tree.file(&format!("{folder}/README.md")).is_none() {
            let message = "add a README.md: what the package is for, and its modules";
            findings.push(Finding::new(&manifest_path, 1, message));
        }
        let root = ["lib", "main"].into_iter().find_map(|stem| tree.file(&format!("{folder}/src/{stem}.rs")));
        if let Some(root) = root
            && !root.text.contains("#![doc = include_str!(\"../README.md\")]")
        {
            let message = "begin with `#![doc = include_str!(\"../README.md\")]`";
            findings.push(Finding::new(&root.path, 1, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_piece_is_found() {
        let bare = check(&Tree::of(&[
            ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("crates/a/src/lib.rs", "//! A crate.\n"),
        ]));
        assert_eq!(bare.len(), 3, "{bare:?}");
        let whole = check(&Tree::of(&[
            ("crates/a/Cargo.toml", "[lints]\nworkspace = true\n"),
            ("crates/a/README.md", "# a\n"),
            ("crates/a/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n"),
        ]));
        assert_eq!(whole, []);
    }
}
