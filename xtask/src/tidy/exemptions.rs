//! The lists that checks go by name files and packages that exist.

use super::tree::Tree;
use super::{Finding, arrows, durability, purity, serialization, unsafety};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let files = [&durability::FILES[..], &purity::FILES, &serialization::FILES, &unsafety::FILES].concat();
    files
        .into_iter()
        .map(str::to_owned)
        .chain(arrows::ROWS.iter().map(|row| format!("{}/Cargo.toml", row.folder)))
        .filter(|path| tree.file(path).is_none())
        .map(|path| {
            Finding::new(&path, 1, "stands in a list of xtask/src/tidy and does not exist: strike it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_gone_is_found() {
        let all = check(&Tree::default()).len();
        let without_one = check(&Tree::of(&[(unsafety::FILES[0], "")])).len();
        assert_eq!(without_one, all - 1);
    }
}
