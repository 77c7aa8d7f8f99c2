//! No path of the machine that a file was written on.

use super::Finding;
use super::tree::Tree;

const FOLDERS: [&str; 4] = ["home", "root", "Users", "work"];
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| !file.is_recorded()) {
        for (line, text) in (1..).zip(file.text.lines()) {
            for folder in FOLDERS {
                if names_folder(text, folder) {
                    let message = format!("a path of one machine: /{folder}/...");
                    findings.push(Finding::new(&file.path, line, message));
                }
            }
        }
    }
    findings
}

/// Tells whether a text names a folder of the file system's root, and not one inside another folder.
fn names_folder(text: &str, folder: &str) -> bool {
    let path = format!("/{folder}/");
    text.match_indices(&path).any(|(place, _)| {
        !text[..place]
            .ends_with(|c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '>' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_found_and_others_are_not() {
        let check = |path, text: &str| check(&Tree::of(&[(path, text)])).len();
        for folder in FOLDERS {
            assert_eq!(check("README.md", &format!("see `/{folder}/me/x`")), 1);
            assert_eq!(check("README.md", &format!("see my/{folder}/x and ../{folder}/x")), 0);
            assert_eq!(check("crates/a/tests/data/x.jsonl", &format!("/{folder}/me")), 0);
        }
    }
}
