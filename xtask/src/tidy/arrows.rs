//! Who may depend on whom.

use super::Finding;
use super::manifest::{Dependency, Manifest};
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
pub(super) const ROWS: [Row; 33] = [
    Row { folder: "crates/core", ours: &[], external: &["bytes", "globset", "half", "multiversion", "once_cell", "thiserror", "time"] },
    Row { folder: "crates/format-pt", ours: &["core"], external: &["crc32fast"] },
    Row { folder: "crates/format-safetensors", ours: &["core"], external: &["safetensors", "serde", "serde_json"] },
    Row {
        folder: "crates/sink-fs",
        ours: &["core"],
        external: &["blake3", "memchr", "memmap2", "rustix", "thiserror", "twox-hash"],
    },
    Row { folder: "crates/functions", ours: &["core"], external: &[] },
    // The functions say what is asked; what computes it stands on them.
    Row { folder: "crates/kernels-cpu", ours: &["core", "functions"], external: &["libm", "matrixmultiply", "rayon"] },
    Row { folder: "crates/kernels-cuda", ours: &["core", "functions"], external: &["bytemuck", "cudarc", "float8", "half", "libloading", "thiserror"] },
    Row { folder: "crates/kernels-cuda/fake-driver", ours: &[], external: &[] },
    // Adapters for the tensors of libraries live where their trait does: ours is one of them.
    Row {
        folder: "crates/values",
        ours: &["core", "kernels-cuda"],
        external: &["bytemuck", "candle-core", "float8", "half", "ndarray", "thiserror"],
    },
    Row { folder: "crates/macros", ours: &[], external: &["proc-macro2", "quote", "syn"] },
    Row { folder: "crates/registry", ours: &["core", "values"], external: &[] },
    Row { folder: "crates/replay", ours: &["core"], external: &["thiserror"] },
    // A use case about processes: it starts, watches and ends them, and keeps a journal of its own.
    Row {
        folder: "crates/isolate",
        ours: &["core", "replay"],
        external: &["rustix", "serde", "serde_json", "sha2", "thiserror"],
    },
    // A use case about the files of a session: what is carried over unread is no matter of the ports.
    Row { folder: "crates/convert", ours: &["core", "sink-fs"], external: &["thiserror"] },
    // Another one: of ports it would see tensors, not lines and sizes.
    Row { folder: "crates/verify", ours: &["core", "sink-fs"], external: &[] },
    Row {
        folder: "crates/callbox",
        ours: &[
            "core", "format-pt", "format-safetensors", "kernels-cuda", "macros", "registry", "replay", "sink-fs", "sink-stdio",
            "system", "values",
        ],
        external: &[],
    },
    Row {
        folder: "crates/cli",
        ours: &["convert", "core", "format-pt", "format-safetensors", "isolate", "kernels-cpu", "kernels-cuda", "replay", "sink-fs", "verify"],
        external: &[
            "anstream", "anstyle", "anyhow", "clap", "indicatif", "serde", "serde_json", "sha2", "signal-hook", "terminal_size",
        ],
    },
    Row { folder: "crates/sink-stdio", ours: &["core"], external: &["rustix", "time"] },
    Row { folder: "crates/system", ours: &["core"], external: &["rustix", "time"] },
    Row {
        folder: "crates/testkit",
        ours: &["core", "sink-fs"],
        external: &["crc32fast", "proptest", "rustix", "time"],
    },
    Row {
        folder: "interop",
        ours: &["core", "format-pt", "format-safetensors", "sink-fs", "testkit"],
        external: &["anyhow", "clap", "serde_json", "sha2", "time"],
    },
    // Its programs build recorders of their own, on a file system that kills them.
    Row {
        folder: "tests",
        ours: &["cli", "core", "format-pt", "format-safetensors", "sink-fs", "system", "testkit"],
        external: &["callbox", "rustix"],
    },
    Row {
        folder: "benches",
        ours: &["core", "format-pt", "format-safetensors", "kernels-cpu", "replay", "sink-fs", "sink-stdio"],
        external: &["anyhow", "callbox", "memmap2", "serde_json", "tempfile", "time"],
    },
    Row { folder: "examples", ours: &["kernels-cpu"], external: &["anyhow", "callbox"] },
    Row { folder: "examples/cuda", ours: &[], external: &["anyhow", "callbox"] },
    Row { folder: "examples/engine", ours: &[], external: &["callbox"] },
    // `arbitrary` takes inputs apart, `serde_json` is a second opinion on JSON; the engine is optional.
    Row {
        folder: "fuzz",
        ours: &["core", "format-pt", "format-safetensors", "replay", "sink-fs"],
        external: &["arbitrary", "crc32fast", "libfuzzer-sys", "rustix", "serde_json", "tempfile"],
    },
    // Files of these packages are taken in by their paths, with what they use.
    Row { folder: "tests/models", ours: &["core"], external: &["loom", "rustix", "thiserror", "time", "twox-hash"] },
    // Loads the emulated kernels and NVIDIA's compiler; what it compares with are dev-dependencies.
    Row { folder: "tests/cuda", ours: &[], external: &["libloading"] },
    Row { folder: "tests/cuda-driver", ours: &[], external: &["libloading"] },
    Row { folder: "tests/level-off", ours: &[], external: &["callbox"] },
    Row {
        folder: "examples/compose",
        ours: &["core", "format-safetensors", "sink-fs"],
        external: &["time"],
    },
    Row { folder: "xtask", ours: &[], external: &[] },
];

/// This file.
const TABLE: &str = "xtask/src/tidy/arrows.rs";
/// Our packages' names begin with this; the rest is the folder under `crates/`.
const PREFIX: &str = "callbox-";
/// Nothing that is shipped may depend on them, and that is what lies here.
const SHIPPED: &str = "crates/";
const DEV_ONLY: [&str; 2] = ["fake-driver", "testkit"];

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
        let dependencies: Vec<_> =
            Manifest::parse(text).dependencies().into_iter().filter(|dependency| !dependency.dev).collect();
        findings.extend(outside_the_table(row, &dependencies));
        findings.extend(unused(row, &dependencies));
    }
    findings
}

fn outside_the_table(row: &Row, dependencies: &[Dependency<'_>]) -> Vec<Finding> {
    let allowed = |name: &str| match name.strip_prefix(PREFIX) {
        Some(ours) => {
            row.ours.contains(&ours) && !(row.folder.starts_with(SHIPPED) && DEV_ONLY.contains(&ours))
        }
        None => row.external.contains(&name),
    };
    let folder = row.folder;
    let findings = dependencies.iter().filter(|dependency| !allowed(dependency.name)).map(|dependency| {
        let message =
            format!("{folder} may not depend on {}: the table of arrows does not have it", dependency.name);
        Finding::new(&format!("{folder}/Cargo.toml"), dependency.line, message)
    });
    findings.collect()
}

/// Finds what the table allows and the package does not ask for: it would come back unnoticed.
fn unused(row: &Row, dependencies: &[Dependency<'_>]) -> Vec<Finding> {
    let ours = row.ours.iter().map(|name| format!("{PREFIX}{name}"));
    let allowed = ours.chain(row.external.iter().map(|name| (*name).to_owned()));
    let findings = allowed.filter(|name| dependencies.iter().all(|dependency| dependency.name != name));
    findings
        .map(|name| {
            let message = format!("{} does not depend on {name}: strike it from its row", row.folder);
            Finding::new(TABLE, 1, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(folder: &str, manifest: &str) -> Vec<String> {
        let path = format!("{folder}/Cargo.toml");
        let findings = check(&Tree::of(&[(&path, manifest)]));
        findings.iter().map(ToString::to_string).collect()
    }

    /// What is found in the manifest itself.
    fn outside(folder: &str, manifest: &str) -> Vec<String> {
        let mut messages = messages(folder, manifest);
        messages.retain(|message| !message.starts_with(TABLE));
        messages
    }

    #[test]
    fn an_arrow_outside_the_table_is_found() {
        for (folder, manifest) in [
            ("crates/core", "[dependencies]\ncallbox-replay.workspace = true"),
            ("crates/core", "[dependencies]\nserde.workspace = true"),
            ("crates/sink-fs", "[dependencies]\ncallbox-format-pt.workspace = true"),
            ("crates/cli", "[build-dependencies]\ncallbox-testkit.workspace = true"),
            ("crates/kernels-cuda", "[dependencies]\ncallbox-fake-driver.workspace = true"),
            ("crates/replay", "[target.'cfg(unix)'.dependencies]\nrustix.workspace = true"),
        ] {
            let found = outside(folder, manifest);
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
    fn what_the_table_allows_and_no_manifest_uses_is_found() {
        for (manifest, expected) in [
            ("[dependencies]\ncallbox-core.workspace = true\n", "crates/replay does not depend on thiserror"),
            ("[dependencies]\nthiserror.workspace = true\n", "crates/replay does not depend on callbox-core"),
            (
                "[dependencies]\ncallbox-core.workspace = true\n[dev-dependencies]\nthiserror.workspace = true\n",
                "crates/replay does not depend on thiserror",
            ),
        ] {
            let found = messages("crates/replay", manifest);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains(expected), "{found:?}");
        }
    }

    #[test]
    fn a_package_without_a_row_is_found() {
        assert_eq!(messages("crates/new", "[package]\n").len(), 1);
    }
}
