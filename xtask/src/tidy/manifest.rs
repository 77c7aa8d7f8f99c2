//! The parts of a Cargo.toml that tidy asks for, read by hand: tables, keys and one-line values.

use std::iter;

/// A manifest's entries, in order.
#[derive(Debug)]
pub(super) struct Manifest<'a> {
    entries: Vec<Entry<'a>>,
}

/// One `key = value` line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Name of the table: `dependencies`.
    pub(super) table: &'a str,
    /// Key as written: `bytes.workspace`.
    pub(super) key: &'a str,
    /// Value as written, without a comment; of one over several lines only the first.
    pub(super) value: &'a str,
    /// Line, from 1.
    pub(super) line: usize,
}

/// One dependency of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dependency<'a> {
    /// Name of the package.
    pub(super) name: &'a str,
    /// Whether only tests, examples and benches get it.
    pub(super) dev: bool,
    /// Whether its version comes from the workspace.
    pub(super) inherited: bool,
    /// Line, from 1.
    pub(super) line: usize,
}

impl<'a> Manifest<'a> {
    /// Reads a manifest.
    pub(super) fn parse(text: &'a str) -> Manifest<'a> {
        let mut table = "";
        let mut entries = Vec::new();
        for (line, content) in iter::zip(1.., text.lines()) {
            let content = without_comment(content).trim();
            if let Some(header) = content.strip_prefix('[') {
                table = header.trim_matches(['[', ']']).trim();
            } else if let Some((key, value)) = content.split_once('=') {
                entries.push(Entry { table, key: key.trim(), value: value.trim(), line });
            }
        }
        Manifest { entries }
    }

    /// Returns the entries of a table.
    pub(super) fn table(&self, name: &str) -> impl Iterator<Item = Entry<'a>> {
        self.entries.iter().copied().filter(move |entry| entry.table == name)
    }

    /// Returns the dependencies of every kind and target, written as a line or as a table of its own.
    pub(super) fn dependencies(&self) -> Vec<Dependency<'a>> {
        let mut found: Vec<Dependency<'a>> = Vec::new();
        for entry in &self.entries {
            let Some((kind, own_table)) = dependency_table(entry.table) else {
                continue;
            };
            let name = own_table.unwrap_or_else(|| first_segment(entry.key));
            let inherited = match own_table {
                Some(_) => entry.key == "workspace" && entry.value == "true",
                None => {
                    entry.key.ends_with(".workspace")
                        || entry.value.replace(' ', "").contains("workspace=true")
                }
            };
            let dev = kind == "dev-dependencies";
            match found.last_mut() {
                Some(last) if own_table.is_some() && last.name == name && last.dev == dev => {
                    last.inherited |= inherited;
                }
                Some(_) | None => found.push(Dependency { name, dev, inherited, line: entry.line }),
            }
        }
        found
    }
}

/// Takes a table's name apart into the kind of dependency and, for `[dependencies.NAME]`, the name.
fn dependency_table(table: &str) -> Option<(&str, Option<&str>)> {
    // `[target.'cfg(unix)'.dependencies]` counts as `[dependencies]`.
    let local = match table.strip_prefix("target.") {
        Some(rest) => rest.rsplit_once("'.").map_or(rest, |(_, local)| local),
        None => table,
    };
    let (kind, name) = match local.split_once('.') {
        Some((kind, name)) => (kind, Some(name)),
        None => (local, None),
    };
    let is_kind = matches!(kind, "dependencies" | "dev-dependencies" | "build-dependencies");
    is_kind.then_some((kind, name))
}

fn first_segment(key: &str) -> &str {
    key.split('.').next().unwrap_or(key).trim_matches('"')
}

fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (place, character) in line.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..place],
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_dependency_is_read() {
        let manifest = Manifest::parse(
            "[package]\nname = \"a # b\" # c\n[dependencies]\nbytes.workspace = true\n\
             half = { workspace = true }\ntime = \"0.3\"\n[dev-dependencies]\nproptest.workspace = true\n\
             [target.'cfg(unix)'.dependencies]\nrustix.workspace = true\n\
             [dependencies.clap]\nfeatures = []\nworkspace = true\n",
        );
        let found: Vec<_> =
            manifest.dependencies().iter().map(|d| (d.name, d.dev, d.inherited, d.line)).collect();
        assert_eq!(
            found,
            [
                ("bytes", false, true, 4),
                ("half", false, true, 5),
                ("time", false, false, 6),
                ("proptest", true, true, 8),
                ("rustix", false, true, 10),
                ("clap", false, true, 12),
            ]
        );
        assert_eq!(manifest.table("package").next().map(|e| e.value), Some("\"a # b\""));
    }
}
