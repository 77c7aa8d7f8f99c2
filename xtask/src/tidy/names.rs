//! No module is named after nothing.

use super::Finding;
use super::source::find_word;
use super::tree::Tree;

const NAMELESS: [&str; 5] = ["common", "helper", "helpers", "util", "utils"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, source) in tree.rust() {
        let segments = file.path.trim_end_matches(".rs").split('/');
        for name in segments.filter(|segment| NAMELESS.contains(segment)) {
            findings.push(Finding::new(&file.path, 1, message(name)));
        }
        for (line, behind) in find_word(&source.code, "mod") {
            let name = behind.trim_start().split([';', ' ', '{']).next().unwrap_or_default();
            if NAMELESS.contains(&name) {
                findings.push(Finding::new(&file.path, line, message(name)));
            }
        }
    }
    findings
}

fn message(name: &str) -> String {
    format!("a module named `{name}` says nothing: put the code beside its user or name its idea")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameless_files_folders_and_modules_are_found() {
        let check = |path, text| check(&Tree::of(&[(path, text)])).len();
        assert_eq!(check("crates/a/src/utils.rs", ""), 1);
        assert_eq!(check("crates/a/src/common/mod.rs", ""), 1);
        assert_eq!(check("crates/a/src/b.rs", "mod helpers {}"), 1);
        assert_eq!(check("crates/a/src/commonplace.rs", "mod utilities;"), 0);
    }
}
