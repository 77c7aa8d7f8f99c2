//! `fnmatch` against the answers of Python's own, which `data/fnmatch.py` generates.

use std::{env, fs};

use callbox_core::filter::fnmatch;

/// A few thousand cases; the environment variable names a file with more.
const CASES: &str = include_str!("data/fnmatch.tsv");
const MORE_CASES: &str = "CALLBOX_FNMATCH_CASES";

#[test]
#[expect(clippy::disallowed_methods, reason = "more cases are named by the environment")]
fn every_case_is_answered_as_python_answers_it() {
    let cases = match env::var_os(MORE_CASES) {
        Some(path) => fs::read_to_string(path).unwrap(),
        None => CASES.to_owned(),
    };
    let mut counts = [0, 0];
    // A text may hold U+2028 and the like: lines end at the newline alone.
    for line in cases.split_terminator('\n') {
        let [pattern, text, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns: {line:?}");
        };
        let (pattern, text, expected) = (unescaped(pattern), unescaped(text), expected == "1");
        assert_eq!(fnmatch(&pattern, &text), expected, "{pattern:?} on {text:?}");
        counts[usize::from(expected)] += 1;
    }
    println!("{} cases do not match, {} match", counts[0], counts[1]);
    assert!(counts[0] > 1_000 && counts[1] > 1_000, "{counts:?}");
}

fn unescaped(column: &str) -> String {
    let mut characters = column.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('\\') => '\\',
                other => panic!("no such escape: {other:?}"),
            },
            other => other,
        });
    }
    text
}
