//! A file holds one idea: it has at most 500 lines, tests and tables of data aside.

use super::Finding;
use super::source::{Source, find_word, item_len, line_of};
use super::tree::Tree;

const MAX_LINES: usize = 500;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|(file, _)| !file.is_test())
        .filter_map(|(file, source)| {
            let lines = counted_lines(&file.text, source);
            (lines > MAX_LINES).then(|| {
                let message = format!(
                    "{lines} lines without tests and tables, at most {MAX_LINES}: give the second idea in it a name"
                );
                Finding::new(&file.path, 1, message)
            })
        })
        .collect()
}

/// Counts the lines outside of tests and of constants that span several lines.
fn counted_lines(text: &str, source: &Source) -> usize {
    let tests: usize =
        source.code.lines().zip(source.product.lines()).filter(|(code, product)| code != product).count();
    text.lines().count() - tests - data_lines(&source.product)
}

fn data_lines(product: &str) -> usize {
    let mut lines = 0;
    let mut rest = product;
    while let Some(place) = next_constant(rest) {
        let item = &rest[place..][..item_len_with_value(&rest[place..])];
        lines += match line_of(item, item.len()) {
            1 => 0,
            several => several,
        };
        rest = &rest[place + item.len()..];
    }
    lines
}

/// Finds the next `const NAME` or `static NAME`; not `const fn`, `*const T` or `&'static T`.
fn next_constant(code: &str) -> Option<usize> {
    ["const", "static"]
        .into_iter()
        .flat_map(|word| find_word(code, word).map(move |(_, behind)| (word, behind)))
        .filter(|(_, behind)| {
            is_constant_name(behind.trim_start().split([':', ' ']).next().unwrap_or_default())
        })
        .map(|(word, behind)| code.len() - behind.len() - word.len())
        .min()
}

fn is_constant_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Measures a constant up to the `;` behind its value; braces in it do not end it.
fn item_len_with_value(code: &str) -> usize {
    let mut len = 0;
    while !code[..len].ends_with(';') && len < code.len() {
        len += item_len(&code[len..]);
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(text: &str) -> usize {
        counted_lines(text, &Source::parse(text))
    }

    #[test]
    fn tests_and_tables_are_not_counted() {
        assert_eq!(counted("fn a() {\n}\n"), 2);
        assert_eq!(counted("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n"), 1);
        assert_eq!(counted("const A: [u8; 2] = [\n    1,\n    2,\n];\nfn a() {}\n"), 1);
        assert_eq!(counted("static A: B = {\n    x\n};\nfn a() {}\n"), 1);
        assert_eq!(counted("const A: u8 = 1;\nconst fn a() {\n}\nfn b(x: *const T) {\n}\n"), 5);
    }

    #[test]
    fn a_long_file_is_found() {
        let check = |lines| {
            let text = "fn a() {}\n".repeat(lines);
            check(&Tree::of(&[("crates/a/src/b.rs", &text), ("tests/tests/all/c.rs", &text)])).len()
        };
        assert_eq!((check(500), check(501)), (0, 1));
    }
}
