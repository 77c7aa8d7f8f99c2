//! No blanks at the end of a line, and a newline at the end of a file.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| !file.is_recorded()) {
        let lines = file.text.split('\n').count();
        for (line, text) in (1..).zip(file.text.split('\n')) {
            if text.ends_with(char::is_whitespace) {
                findings.push(Finding::new(&file.path, line, "blanks at the end of the line"));
            }
        }
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            findings.push(Finding::new(&file.path, lines, "no newline at the end of the file"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_blanks_and_a_missing_newline_are_found() {
        let found = |text| {
            let findings = check(&Tree::of(&[("a.md", text)]));
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(found("a\nb\n"), []);
        assert_eq!(found("a \nb\r\nc"), [1, 2, 3]);
    }
}
