//! `cargo xtask tidy`: rules that neither the compiler nor clippy knows, one file each.

mod arrows;
mod attributes;
mod dependencies;
mod documents;
mod durability;
mod exemptions;
mod file_length;
mod lib_rs;
mod machine_paths;
mod manifest;
mod names;
mod packages;
mod port_size;
mod purity;
mod serialization;
mod source;
mod tree;
mod unsafety;
mod whitespace;

use std::fmt;

use self::tree::Tree;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

/// Writes `PATH:LINE: MESSAGE`, as editors read it.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

type Check = fn(&Tree) -> Vec<Finding>;

const CHECKS: [(&str, Check); 15] = [
    ("arrows between crates", arrows::check),
    ("dependencies", dependencies::check),
    ("packages", packages::check),
    ("lib.rs", lib_rs::check),
    ("file length", file_length::check),
    ("port size", port_size::check),
    ("module names", names::check),
    ("purity of the core", purity::check),
    ("unsafe code", unsafety::check),
    ("renames and syncs", durability::check),
    ("serialisation", serialization::check),
    ("exemptions", exemptions::check),
    ("attributes", attributes::check),
    ("documents", documents::check),
    ("leftovers", |tree| [machine_paths::check(tree), whitespace::check(tree)].concat()),
];

/// Runs every check and prints what it finds.
pub(crate) fn run() -> Result<(), String> {
    let tree = Tree::of_workspace()?;
    let mut found = 0;
    for (name, check) in CHECKS {
        let mut findings = check(&tree);
        findings.sort();
        found += findings.len();
        for finding in findings {
            println!("{finding} [{name}]");
        }
    }
    match found {
        0 => {
            println!("tidy: {} checks over {} files", CHECKS.len(), tree.files().len());
            Ok(())
        }
        1 => Err("1 rule is broken".to_owned()),
        _ => Err(format!("{found} rules are broken")),
    }
}
