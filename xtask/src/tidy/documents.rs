//! The documents that a reader looks for.

use super::Finding;
use super::tree::Tree;

const DOCUMENTS: [&str; 8] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "DESIGN.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "docs/format.md",
];
const CHANGELOG: &str = "CHANGELOG.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = DOCUMENTS
        .into_iter()
        .filter(|document| tree.file(document).is_none_or(|file| file.text.trim().is_empty()))
        .map(|document| Finding::new(document, 1, "is missing or empty"))
        .collect();
    if let Some(changelog) = tree.file(CHANGELOG)
        && !changelog.text.lines().any(|line| line == "## Unreleased")
    {
        findings.push(Finding::new(CHANGELOG, 1, "has no section `## Unreleased`"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_documents_and_sections_are_found() {
        assert_eq!(check(&Tree::default()).len(), DOCUMENTS.len());
        let mut files = DOCUMENTS.map(|document| (document, "text\n"));
        assert_eq!(check(&Tree::of(&files)).len(), 1);
        files[1].1 = "# Changes\n\n## Unreleased\n";
        assert_eq!(check(&Tree::of(&files)), []);
    }
}
