//! `cargo xtask level-off`: with recording left out at build time, an annotated function is the plain one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{cargo, root, run};

const PACKAGE: &str = "callbox-level-off";
const FUNCTION: &str = "rms_norm";
/// Builds of their own: features of the workspace's other builds stay out of them.
const TARGETS: [&str; 2] = ["target/level-off/plain", "target/level-off/recorded"];

pub(crate) fn command() -> Result<String, String> {
    let plain = assembly(TARGETS[0], &[])?;
    let recorded = assembly(TARGETS[1], &["--features", "recorded"])?;
    compare(&plain, &recorded)?;
    Ok(format!("`{FUNCTION}` plain and annotated: the same {} lines of assembly", plain.len()))
}

fn compare(plain: &[String], recorded: &[String]) -> Result<(), String> {
    let difference = plain.iter().zip(recorded).find(|(plain, recorded)| plain != recorded);
    match difference {
        Some((plain, recorded)) => Err(format!("plain has `{plain}` where annotated has `{recorded}`")),
        None if plain.len() != recorded.len() => {
            Err(format!("plain has {} lines, annotated {}", plain.len(), recorded.len()))
        }
        None => Ok(()),
    }
}

/// Builds the function in a folder of its own and returns its assembly, names made comparable.
fn assembly(target: &str, features: &[&str]) -> Result<Vec<String>, String> {
    let target = root().join(target);
    let mut build = cargo(&["rustc", "--quiet", "--release", "--lib", "-p", PACKAGE, "--target-dir"]);
    build.arg(&target).args(features);
    // Only this crate is asked for assembly; one unit, so that all of it is in one file.
    build.args(["--", "--emit", "asm", "-Ccodegen-units=1", "-Cdebuginfo=0"]);
    run(build, "building the function")?;
    let folder = target.join("release/deps");
    let path = newest_assembly(&folder).ok_or_else(|| format!("no assembly in {}", folder.display()))?;
    let text =
        fs::read_to_string(&path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    body(&text).ok_or_else(|| format!("{} has no function `{FUNCTION}`", path.display()))
}

/// Finds the file that the last build wrote: builds with other compilers leave theirs beside it.
fn newest_assembly(folder: &Path) -> Option<PathBuf> {
    let paths = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "s"));
    files.max_by_key(|path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}

/// Cuts the function out of a file: from its label to the directive that tells its size.
///
/// Labels and constants are numbered through a file, and symbols carry the hash of their build: both are replaced.
fn body(text: &str) -> Option<Vec<String>> {
    let is_label = |line: &str| line.ends_with(':') && line.contains(FUNCTION) && !line.starts_with('.');
    let lines = text.lines().skip_while(|line| !is_label(line)).skip(1);
    let body: Vec<String> = lines
        .take_while(|line| !line.trim_start().starts_with(".size"))
        .filter(|line| !line.trim_start().starts_with(".cfi") && !line.contains(".Lfunc_"))
        .map(without_names)
        .collect();
    (!body.is_empty()).then_some(body)
}

fn without_names(line: &str) -> String {
    let is_name = |character: char| character.is_ascii_alphanumeric() || "._$".contains(character);
    let mut cleaned = String::new();
    let mut rest = line;
    while !rest.is_empty() {
        let len = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(len.max(1).min(rest.len()));
        cleaned.push_str(match word {
            word if word.starts_with(".L") => ".L",
            word if word.starts_with("_ZN") || word.starts_with("_R") => "symbol",
            word => word,
        });
        rest = behind;
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
_ZN3lib5other17h01E:
\tret
\t.size\t_ZN3lib5other17h01E, .-x
_ZN3lib8rms_norm17habcE:
\t.cfi_startproc
\tmulss\t.LCPI0_1(%rip), %xmm0
\tcallq\t*_ZN4core3fmt17h99E@GOTPCREL(%rip)
.LBB1_2:
\tretq
.Lfunc_end1:
\t.size\t_ZN3lib8rms_norm17habcE, .Lfunc_end1-x
";

    #[test]
    fn a_function_is_cut_out_and_its_names_are_made_comparable() {
        let body = body(FILE).unwrap();
        assert_eq!(body, ["\tmulss\t.L(%rip), %xmm0", "\tcallq\t*symbol@GOTPCREL(%rip)", ".L:", "\tretq"]);
    }

    #[test]
    fn one_more_instruction_is_a_difference() {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert!(compare(&lines(&["ret"]), &lines(&["ret"])).is_ok());
        assert!(compare(&lines(&["ret"]), &lines(&["cmpb", "ret"])).is_err());
        assert!(compare(&lines(&["ret"]), &lines(&["ret", "nop"])).is_err());
    }
}
