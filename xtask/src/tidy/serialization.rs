//! Only types made for a file or for a report are serialised.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

/// The files whose types derive serde's traits.
pub(super) const FILES: [&str; 10] = [
    "crates/cli/src/convert.rs",
    "crates/cli/src/verify.rs",
    "crates/cli/src/json.rs",
    "crates/cli/src/list.rs",
    "crates/cli/src/replay/report.rs",
    "crates/cli/src/show/object.rs",
    "crates/format-safetensors/src/header.rs",
    "crates/isolate/src/journal.rs",
    "crates/isolate/src/json_float.rs",
    "crates/isolate/src/wire.rs",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.product().filter(|(file, _)| !FILES.contains(&file.path.as_str())) {
        for name in ["Serialize", "Deserialize"] {
            findings.extend(find_word(&source.product, name).map(|(line, _)| {
                let message =
                    format!("`{name}` outside of the files that xtask/src/tidy/serialization.rs names");
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
    fn a_domain_type_that_serialises_is_found() {
        let tree = Tree::of(&[("crates/core/src/a.rs", "#[derive(Debug, Serialize)]\nstruct A;\n")]);
        assert_eq!(check(&tree).len(), 1);
    }
}
