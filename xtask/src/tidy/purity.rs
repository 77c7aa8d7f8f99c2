//! The core does no I/O, reads no clock and no environment, and starts no thread.

use super::Finding;
use super::source::{block_len, find_word};
use super::tree::Tree;

const CORE: &str = "crates/core/src/";
/// Asks which bug a test plants, in builds that are not shipped.
pub(super) const FILES: [&str; 1] = ["crates/core/src/planted.rs"];
const MODULES: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];
/// Asks about the present thread and touches nothing.
const ALLOWED: [&str; 1] = ["thread::panicking"];
const WORDS: [&str; 9] =
    ["Instant", "SystemTime::now", "eprint", "eprintln", "print", "println", "stderr", "stdin", "stdout"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_core = |path: &str| path.starts_with(CORE) && !FILES.contains(&path);
    for (file, source) in tree.product().filter(|(file, _)| is_core(&file.path)) {
        let mut found: Vec<(usize, String)> = std_modules(&source.product)
            .filter(|(_, path)| !ALLOWED.iter().any(|allowed| path.starts_with(allowed)))
            .map(|(line, path)| (line, first_identifier(path)))
            .filter(|(_, module)| MODULES.contains(module))
            .map(|(line, module)| (line, format!("std::{module}")))
            .collect();
        for word in WORDS {
            found.extend(find_word(&source.product, word).map(|(line, _)| (line, word.to_owned())));
        }
        findings.extend(found.into_iter().map(|(line, what)| {
            let message = format!("`{what}` in the core: the world outside is reached through a port");
            Finding::new(&file.path, line, message)
        }));
    }
    findings
}

/// Lists the paths in std that code names, in paths and in groups: `std::fs`, `std::{fs, io}`.
fn std_modules(code: &str) -> impl Iterator<Item = (usize, &str)> {
    find_word(code, "std").flat_map(|(line, behind)| {
        let path = behind.strip_prefix("::").unwrap_or_default();
        let group = path.starts_with('{').then(|| &path[1..block_len(path) - 1]);
        top_level(group.unwrap_or(path), group.is_some()).map(move |item| (line, item.trim_start()))
    })
}

/// Splits a group at its own commas; without a group there is one item.
fn top_level(items: &str, is_group: bool) -> impl Iterator<Item = &str> {
    let mut depth = 0usize;
    items.split(move |character| {
        match character {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_group && character == ',' && depth == 0
    })
}

fn first_identifier(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    &path[..end.unwrap_or(path.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(code: &str) -> usize {
        check(&Tree::of(&[("crates/core/src/a.rs", code)])).len()
    }

    #[test]
    fn asking_whether_the_thread_panics_is_no_way_out() {
        assert_eq!(count("if std::thread::panicking() {}"), 0);
        assert_eq!(count("std::thread::spawn(f); std::thread::panicking();"), 1);
    }

    #[test]
    fn every_way_out_of_the_core_is_found() {
        for code in [
            "use std::fs;",
            "use std::env::var;",
            "use std::{fmt, io::{self, Write}, thread};",
            "fn f() { std::thread::spawn(g); }",
            "use std::time::Instant;",
            "fn f() { SystemTime::now(); }",
            "fn f() { println!(); }",
        ] {
            assert_eq!(count(code), 1, "{code}");
        }
    }

    #[test]
    fn what_the_core_may_use_is_left_alone() {
        for code in [
            "use std::io::{self, Write};\nuse std::time::SystemTime;",
            "use std::{fmt, io::{thread, fs}};",
            "// std::fs\n#[cfg(test)]\nmod tests { use std::fs; }",
        ] {
            assert_eq!(count(code), 0, "{code}");
        }
        assert_eq!(check(&Tree::of(&[("crates/sink-fs/src/a.rs", "use std::fs;")])), []);
    }
}
