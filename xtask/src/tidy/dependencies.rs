//! No dependency that nothing uses, and every version in one place.

use super::Finding;
use super::manifest::Manifest;
use super::source::find_word;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = Vec::new();
    for folder in tree.packages() {
        let path = format!("{folder}/Cargo.toml");
        let text = tree.file(&path).map_or("", |file| &file.text);
        for dependency in Manifest::parse(text).dependencies() {
            let name = dependency.name;
            used.push(name);
            if !dependency.inherited {
                let message =
                    format!("{name}: declare the version in the workspace's manifest and inherit it");
                findings.push(Finding::new(&path, dependency.line, message));
            }
            if !is_named(tree, folder, name) {
                let message = format!("{name} is a dependency that no source of {folder} names");
                findings.push(Finding::new(&path, dependency.line, message));
            }
        }
    }
    let workspace = tree.file("Cargo.toml").map_or("", |file| &file.text);
    for entry in Manifest::parse(workspace).table("workspace.dependencies") {
        if !used.contains(&entry.key) {
            let message = format!("{} is a dependency that no package uses", entry.key);
            findings.push(Finding::new("Cargo.toml", entry.line, message));
        }
    }
    findings
}

fn is_named(tree: &Tree, folder: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    let inside = format!("{folder}/");
    tree.rust()
        .filter(|(file, _)| file.path.starts_with(&inside))
        .any(|(_, source)| find_word(&source.code, &name).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_and_uninherited_dependencies_are_found() {
        let findings = check(&Tree::of(&[
            ("Cargo.toml", "[workspace.dependencies]\nbytes = \"1\"\nhalf = \"2\"\ntime-core = \"1\"\n"),
            (
                "crates/a/Cargo.toml",
                "[dependencies]\nbytes.workspace = true\ntime-core.workspace = true\nrand = \"1\"\n",
            ),
            ("crates/a/src/lib.rs", "// bytes\nuse time_core as t; use rand::random;\n"),
            ("crates/b/src/lib.rs", "use bytes::Bytes;\n"),
        ]));
        let found: Vec<_> = findings.iter().map(|f| (f.path.as_str(), f.line)).collect();
        assert_eq!(found, [("crates/a/Cargo.toml", 2), ("crates/a/Cargo.toml", 4), ("Cargo.toml", 3)]);
    }
}
