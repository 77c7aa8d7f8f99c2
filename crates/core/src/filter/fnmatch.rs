//! Shell patterns by the rule of Python's `fnmatch.fnmatchcase`.
//!
//! | pattern | takes |
//! |---|---|
//! | `*` | any number of characters, none too |
//! | `?` | one character, not one byte |
//! | `[abc]`, `[a-z]` | one of these characters |
//! | `[!abc]` | one character, none of these |
//! | anything else | itself: `{}`, `\`, `^` and an unclosed `[` have no meaning of their own |
//!
//! A whole text is matched, newlines are ordinary characters, case counts.
//!
//! The rule is that of Python 3.11's `fnmatch` module
//! (<https://docs.python.org/3.11/library/fnmatch.html>), down to what it makes of hyphens and of ranges
//! that run backwards; `tests/tests/data/fnmatch.py` generates answers from Python itself.

use std::str::Chars;

use super::class::Class;

/// Tells whether a pattern takes the whole of a text.
///
/// The time is at most the product of the two lengths, whatever the pattern.
///
/// ```
/// use callbox_core::filter::fnmatch;
///
/// assert!(fnmatch("*.__init__", "BatchDecodeWithPagedKVCacheWrapper.__init__"));
/// assert!(fnmatch("mm_fp[48]", "mm_fp8"));
/// assert!(!fnmatch("*decode*", "BatchDecodeWithPagedKVCacheWrapper.run"));
/// ```
pub fn fnmatch(pattern: &str, text: &str) -> bool {
    Pattern::parse(pattern).matches(text)
}

/// A pattern, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Any number of characters; never next to another star.
    Star,
    /// Any one character.
    Any,
    /// One certain character.
    Literal(char),
    /// One character of a class.
    Class(Class),
}

impl Pattern {
    /// Takes a pattern apart; every text is one.
    pub(super) fn parse(pattern: &str) -> Pattern {
        let characters: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::new();
        let mut place = 0;
        while let Some(&character) = characters.get(place) {
            place += 1;
            match character {
                '*' if tokens.last() == Some(&Token::Star) => {}
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                '[' => match Class::parse(&characters[place..]) {
                    Some((class, length)) => {
                        tokens.push(Token::Class(class));
                        place += length;
                    }
                    None => tokens.push(Token::Literal('[')),
                },
                other => tokens.push(Token::Literal(other)),
            }
        }
        Pattern { tokens }
    }

    /// Returns the pieces in order.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Tells whether the pattern takes the whole of a text.
    ///
    /// Only the last star that was met can still need more than it took: what lies between two stars has
    /// the same length wherever it fits, so its first fit leaves the most for the rest. Hence one place to
    /// go back to, and no exponential search.
    pub(super) fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut place = 0;
        let mut last_star: Option<(usize, Chars<'_>)> = None;
        loop {
            match self.tokens.get(place) {
                Some(Token::Star) => {
                    place += 1;
                    last_star = Some((place, rest.clone()));
                    continue;
                }
                Some(token) => {
                    let mut behind = rest.clone();
                    if behind.next().is_some_and(|character| token.takes(character)) {
                        place += 1;
                        rest = behind;
                        continue;
                    }
                }
                None if rest.as_str().is_empty() => return true,
                None => {}
            }
            let Some((behind_star, untaken)) = &mut last_star else {
                return false;
            };
            if untaken.next().is_none() {
                return false;
            }
            place = *behind_star;
            rest = untaken.clone();
        }
    }
}

impl Token {
    /// Tells whether one character satisfies this piece.
    fn takes(&self, character: char) -> bool {
        match self {
            Token::Star | Token::Any => true,
            Token::Literal(literal) => *literal == character,
            Token::Class(class) => class.contains(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Says what a pattern takes by trying every length for every star.
    fn by_definition(tokens: &[Token], text: &[char]) -> bool {
        match tokens {
            [] => text.is_empty(),
            [Token::Star, behind @ ..] => (0..=text.len()).any(|n| by_definition(behind, &text[n..])),
            [token, behind @ ..] => text
                .split_first()
                .is_some_and(|(&first, rest)| token.takes(first) && by_definition(behind, rest)),
        }
    }

    proptest! {
        #[test]
        fn one_place_to_go_back_to_is_enough(pattern in "[*?ab]{0,8}", text in "[abc]{0,8}") {
            let characters: Vec<char> = text.chars().collect();
            let expected = by_definition(Pattern::parse(&pattern).tokens(), &characters);
            prop_assert_eq!(fnmatch(&pattern, &text), expected);
        }

        #[test]
        fn a_text_without_special_characters_takes_itself_alone(
            pattern in r"[^*?\[]{0,8}",
            text in any::<String>(),
        ) {
            prop_assert!(fnmatch(&pattern, &pattern));
            prop_assert_eq!(fnmatch(&pattern, &text), pattern == text);
        }

        #[test]
        fn any_pattern_meets_any_text(pattern in any::<String>(), text in any::<String>()) {
            fnmatch(&pattern, &text);
        }
    }

    #[test]
    fn the_rule_case_by_case() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "ab", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "aba", false),
            ("?", "é", true),
            ("?", "\u{1f600}", true),
            ("?", "e\u{301}", false),
            ("a?b", "a\nb", true),
            ("*", "two\nlines", true),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
            (r"\*", r"\x", true),
            ("[abc", "[abc", true),
            ("[abc", "a", false),
            ("[!]", "[!]", true),
            ("[^a]", "^", true),
            ("[^a]", "b", false),
            ("[!a]", "b", true),
            ("[]-a]", "^", true),
            ("[а-я]", "ж", true),
            ("MM", "mm", false),
        ] {
            assert_eq!(fnmatch(pattern, text), expected, "`{pattern}` on `{text}`");
        }
    }

    #[test]
    fn many_stars_cost_a_product_and_no_power() {
        let pattern = "*a".repeat(2_000) + "*b";
        assert!(!fnmatch(&pattern, &"a".repeat(20_000)));
    }
}
