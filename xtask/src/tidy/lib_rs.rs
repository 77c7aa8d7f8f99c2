//! A lib.rs is a table of contents.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

const MAX_LINES: usize = 80;
const LOGIC: [&str; 3] = ["fn", "impl", "macro_rules"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.product().filter(|(file, _)| file.path.ends_with("/src/lib.rs")) {
        let lines = file.text.lines().count();
        if lines > MAX_LINES {
            let message = format!("{lines} lines, at most {MAX_LINES}: a lib.rs is a table of contents");
            findings.push(Finding::new(&file.path, MAX_LINES + 1, message));
        }
        for word in LOGIC {
            let found =
                find_word(&source.product, word).filter(|(line, _)| !is_macro(&source.product, *line));
            findings.extend(found.map(|(line, _)| {
                let message = format!("`{word}` in a lib.rs: it belongs into a module");
                Finding::new(&file.path, line, message)
            }));
        }
    }
    findings
}

/// Tells whether a line begins a procedural macro: the compiler wants those at the root of their crate.
fn is_macro(code: &str, line: usize) -> bool {
    line >= 2 && code.lines().nth(line - 2).is_some_and(|before| before.trim().starts_with("#[proc_macro"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_logic_are_found() {
        let check = |text: &str| check(&Tree::of(&[("crates/a/src/lib.rs", text)])).len();
        assert_eq!(check("pub mod fn_like;\n#[cfg(test)]\nmod tests { fn f() {} }\n"), 0);
        assert_eq!(check("pub mod a;\npub fn f() {}\nimpl A {}\n"), 2);
        assert_eq!(check("pub mod a;\n#[proc_macro_attribute]\npub fn record() {}\n"), 0);
        assert_eq!(check(&"pub mod a;\n".repeat(80)), 0);
        assert_eq!(check(&"pub mod a;\n".repeat(81)), 1);
    }
}
