//! The files that tidy looks at.

use std::fs;

use super::source::Source;
use crate::cargo::{program, root};

/// The text files of the workspace that git tracks or would track.
#[derive(Debug, Default)]
pub(super) struct Tree {
    files: Vec<File>,
}

/// One text file.
#[derive(Debug)]
pub(super) struct File {
    /// Path from the workspace's root, with forward slashes.
    pub(super) path: String,
    /// The whole text.
    pub(super) text: String,
    /// The text as Rust; `None` for other languages.
    pub(super) source: Option<Source>,
}

impl Tree {
    /// Reads the workspace.
    pub(super) fn of_workspace() -> Result<Tree, String> {
        let listing = program("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .output()
            .map_err(|error| format!("failed to run `git ls-files`: {error}"))?;
        if !listing.status.success() {
            return Err("`git ls-files` failed: tidy needs a git checkout".to_owned());
        }
        let paths = String::from_utf8_lossy(&listing.stdout);
        let mut tree = Tree::default();
        for path in paths.split_terminator('\0') {
            // What is no text, or deleted and not yet committed, has nothing to tidy.
            if let Ok(text) = fs::read_to_string(root().join(path)) {
                tree.add(path, text);
            }
        }
        Ok(tree)
    }

    /// Builds a tree from paths and texts.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.add(path, (*text).to_owned());
        }
        tree
    }

    fn add(&mut self, path: &str, text: String) {
        self.files.push(File {
            path: path.to_owned(),
            source: path.ends_with(".rs").then(|| Source::parse(&text)),
            text,
        });
    }

    /// Returns every file.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// Finds a file by its path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Iterates over Rust files.
    pub(super) fn rust(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.files.iter().filter_map(|file| file.source.as_ref().map(|source| (file, source)))
    }

    /// Iterates over the Rust files that end up in a library or in the command: not the tests, the benches,
    /// the test kit or the project's own commands.
    pub(super) fn product(&self) -> impl Iterator<Item = (&File, &Source)> {
        self.rust().filter(|(file, _)| {
            file.path.starts_with("crates/")
                && file.path.contains("/src/")
                && !file.path.starts_with("crates/testkit/")
                && !file.is_test()
        })
    }

    /// Iterates over the folders of the workspace's packages.
    pub(super) fn packages(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml"))
    }
}

impl File {
    /// Tells whether the file was recorded or generated: such files stay as they are.
    pub(super) fn is_recorded(&self) -> bool {
        self.path.starts_with("examples/sessions/") || self.path.contains("/data/")
    }

    /// Tells whether the whole file is a test.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}
