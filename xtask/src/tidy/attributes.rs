//! Attributes that hide something: tests that do not run, panics that pass, lints that are silenced unsaid.

use super::Finding;
use super::tree::Tree;

const BANNED: [(&str, &str); 4] = [
    ("#[ignore", "a test that needs what is not there says so by name and passes"),
    ("#[should_panic", "assert on the error or the message instead"),
    ("#[allow(", "use `#[expect(lint, reason = \"..\")]`"),
    ("#![allow(", "use `#![expect(lint, reason = \"..\")]`"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        for (line, text) in (1..).zip(source.code.lines()) {
            for (attribute, message) in BANNED {
                if text.contains(attribute) {
                    findings.push(Finding::new(&file.path, line, format!("`{attribute}`: {message}")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hiding_attributes_are_found() {
        let check = |text| check(&Tree::of(&[("tests/tests/all/a.rs", text)])).len();
        assert_eq!(check("#[test]\n#[ignore = \"slow\"]\nfn a() {}"), 1);
        assert_eq!(check("#[should_panic]\n#[allow(dead_code)]\nfn a() {}"), 2);
        assert_eq!(check("#![allow(missing_docs)]"), 1);
        assert_eq!(check("// #[ignore]\n#[expect(dead_code, reason = \"x\")]"), 0);
    }
}
