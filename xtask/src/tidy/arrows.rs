//! Who may depend on whom.

use super::Finding;
use super::manifest::Manifest;
use super::tree::Tree;

/// What a package may depend on, dev-dependencies aside.
pub(super) struct Row {
    /// Folder of the package.
    pub(super) folder: &'static str,
    ours: &'static [&'static str],
    external: &'static [&'static str],
}

/// One row a package. A new dependency is a design decision: it begins here.
#[rustfmt::skip]
pub(super) const ROWS: [Row; 11] = [
    Row { folder: "crates/core", ours: &[], external: &["bytes", "globset", "half", "thiserror"] },
    Row { folder: "crates/format-pt", ours: &["core"], external: &["crc32fast"] },
    Row { folder: "crates/format-safetensors", ours: &["core"], external: &["safetensors", "serde", "serde_json"] },
    Row { folder: "crates/sink-fs", ours: &["core"], external: &["memchr", "memmap2", "rustix", "thiserror"] },
    Row { folder: "crates/kernels-cpu", ours: &["core"], external: &["half", "libm", "matrixmultiply", "rayon"] },
    Row { folder: "crates/replay", ours: &["core"], external: &["thiserror"] },
    Row {
        folder: "crates/cli",
        ours: &["core", "format-pt", "format-safetensors", "kernels-cpu", "replay", "sink-fs"],
        external: &[
            "anstream", "anstyle", "anyhow", "clap", "indicatif", "serde", "serde_json", "sha2", "terminal_size",
        ],
    },
    Row { folder: "crates/testkit", ours: &["core", "sink-fs"], external: &["proptest"] },
    Row { folder: "tests", ours: &[], external: &[] },
    Row {
        folder: "benches",
        ours: &["core", "format-pt", "format-safetensors", "kernels-cpu", "replay", "sink-fs"],
        external: &["anyhow", "memmap2", "serde_json", "tempfile"],
    },
    Row { folder: "xtask", ours: &[], external: &[] },
];

/// Our packages' names begin with this; the rest is the folder under `crates/`.
const PREFIX: &str = "callbox-";
/// Nothing that is shipped may depend on it.
const DEV_ONLY: &str = "testkit";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in tree.packages() {
        let path = format!("{folder}/Cargo.toml");
        let text = tree.file(&path).map_or("", |file| &file.text);
        let Some(row) = ROWS.iter().find(|row| row.folder == folder) else {
            let message =
                "no row in the table of arrows (xtask/src/tidy/arrows.rs): say what it may depend on";
            findings.push(Finding::new(&path, 1, message));
            continue;
        };
        for dependency in Manifest::parse(text).dependencies() {
            let name = dependency.name;
            let allowed = match name.strip_prefix(PREFIX) {
                Some(ours) => dependency.dev || (row.ours.contains(&ours) && ours != DEV_ONLY),
                None => dependency.dev || row.external.contains(&name),
            };
            if !allowed {
                let message =
                    format!("{folder} may not depend on {name}: the table of arrows does not have it");
                findings.push(Finding::new(&path, dependency.line, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(folder: &str, manifest: &str) -> Vec<String> {
        let path = format!("{folder}/Cargo.toml");
        let findings = check(&Tree::of(&[(&path, manifest)]));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_outside_the_table_is_found() {
        for (folder, manifest) in [
            ("crates/core", "[dependencies]\ncallbox-replay.workspace = true"),
            ("crates/core", "[dependencies]\nserde.workspace = true"),
            ("crates/sink-fs", "[dependencies]\ncallbox-format-pt.workspace = true"),
            ("crates/cli", "[build-dependencies]\ncallbox-testkit.workspace = true"),
            ("crates/replay", "[target.'cfg(unix)'.dependencies]\nrustix.workspace = true"),
        ] {
            let found = messages(folder, manifest);
            assert_eq!(found.len(), 1, "{folder}: {manifest}");
            assert!(found[0].starts_with(&format!("{folder}/Cargo.toml:2: ")), "{found:?}");
        }
    }

    #[test]
    fn arrows_of_the_table_and_of_tests_are_allowed() {
        let manifest = "[dependencies]\ncallbox-core.workspace = true\nthiserror.workspace = true\n\
                        [dev-dependencies]\ncallbox-testkit.workspace = true\ntempfile.workspace = true\n";
        assert_eq!(messages("crates/replay", manifest), [""; 0]);
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        assert_eq!(messages("crates/new", "[package]\n").len(), 1);
    }
}
