//! A set of patterns, asked at once.

use globset::{Glob, GlobBuilder, GlobSet};

use super::fnmatch::{Pattern, Token};
use crate::planted;

/// Patterns of which at least one has to match.
///
/// Patterns of stars and ordinary characters, which nearly all filters consist of, are answered together by
/// one `GlobSet`; the others are tried one by one. The answer is that of [`Pattern::matches`] either way.
#[derive(Clone, Debug)]
pub(super) struct PatternSet {
    together: GlobSet,
    one_by_one: Vec<Pattern>,
}

impl PatternSet {
    /// Collects patterns.
    pub(super) fn new(patterns: Vec<Pattern>) -> PatternSet {
        let globs: Vec<Option<Glob>> = patterns.iter().map(as_glob).collect();
        match GlobSet::new(globs.iter().flatten()) {
            Ok(together) => PatternSet {
                together,
                one_by_one: patterns
                    .into_iter()
                    .zip(&globs)
                    .filter_map(|(pattern, glob)| glob.is_none().then_some(pattern))
                    .collect(),
            },
            // Patterns of many megabytes are beyond what a regular expression may take.
            Err(_) => PatternSet { together: GlobSet::empty(), one_by_one: patterns },
        }
    }

    /// Tells whether there is no pattern.
    pub(super) fn is_empty(&self) -> bool {
        self.together.is_empty() && self.one_by_one.is_empty()
    }

    /// Tells whether a pattern takes the whole of a text.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.together.is_match(text) || self.one_by_one.iter().any(|pattern| pattern.matches(text))
    }
}

/// Writes a pattern in globset's syntax; `None` where the two rules differ or may differ.
///
/// In globset `?` and negated classes take one byte, and `/` and `\` are one character on some systems.
/// Characters that mean something to globset go into a class of their own, and so does the dot: globset
/// takes a pattern that ends in `.word` for a file extension, by rules for file names.
fn as_glob(pattern: &Pattern) -> Option<Glob> {
    let mut glob = String::new();
    for token in pattern.tokens() {
        match token {
            Token::Star => glob.push('*'),
            Token::Literal('/' | '\\') | Token::Any | Token::Class(_) => return None,
            Token::Literal(brace @ ('{' | '}')) if planted::bug("glob_braces") => glob.push(*brace),
            Token::Literal(special @ ('*' | '?' | '[' | '{' | '}' | '.')) => {
                glob.extend(['[', *special, ']']);
            }
            Token::Literal(ordinary) => glob.push(*ordinary),
        }
    }
    GlobBuilder::new(&glob).literal_separator(false).build().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(patterns: &[String]) -> PatternSet {
        PatternSet::new(patterns.iter().map(|pattern| Pattern::parse(pattern)).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_set_answers_as_the_patterns_do(
            patterns in prop::collection::vec(r"[ab.*?\[\]!^{},/\\é-]{0,8}", 0..5),
            texts in prop::collection::vec(r"[ab.*?\[\]!^{},/\\é\n-]{0,8}", 1..10),
        ) {
            let set = set(&patterns);
            for text in &texts {
                let expected = patterns.iter().any(|pattern| Pattern::parse(pattern).matches(text));
                prop_assert_eq!(set.matches(text), expected, "{:?} on {:?}", &patterns, text);
            }
        }

        #[test]
        fn stars_and_ordinary_characters_are_answered_together(pattern in r"[ab.*{},\]!^é-]{1,8}") {
            let set = set(std::slice::from_ref(&pattern));
            prop_assert!(set.one_by_one.is_empty());
            for text in [pattern.replace('*', ""), pattern.replace('*', "a.é"), format!("{pattern}.")] {
                prop_assert_eq!(set.matches(&text), Pattern::parse(&pattern).matches(&text));
            }
        }
    }

    #[test]
    fn a_name_of_dots_has_no_extension_and_still_matches() {
        let set = set(&["*.".into(), "*.b".into()]);
        for (text, expected) in [("..", true), ("/..", true), ("a/.b", true), ("a.b/", false)] {
            assert_eq!(set.matches(text), expected, "{text}");
        }
    }

    #[test]
    fn patterns_beyond_a_regular_expression_are_tried_one_by_one() {
        let long = "a*".repeat(1 << 18);
        let set = set(&[long, "b*".into()]);
        assert!(set.together.is_empty());
        assert!(set.matches("bc") && !set.matches("c"));
    }
}
