//! Bracket expressions: `[abc]`, `[a-z]`, `[!a-z]`.

use std::ops::RangeInclusive;

/// The characters that a bracket expression takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<RangeInclusive<char>>,
}

impl Class {
    /// Reads the expression whose `[` lies before `rest`; gives it and the number of characters up to and
    /// with its `]`. `None`: it is never closed, and the `[` stands for itself.
    pub(super) fn parse(rest: &[char]) -> Option<(Class, usize)> {
        let negation = usize::from(rest.first() == Some(&'!'));
        // A bracket in the first place is a member: `[]a]` takes `]` and `a`.
        let members = negation + usize::from(rest.get(negation) == Some(&']'));
        let closing = members + rest.get(members..)?.iter().position(|&c| c == ']')?;
        Some((Class::from_body(&rest[..closing]), closing + 1))
    }

    /// Reads what lies between the brackets; never empty.
    ///
    /// Python's `fnmatch` hands the body to its regular expressions, after cutting it at the hyphens that
    /// make ranges and mending those that run backwards. Two effects are odd and part of the rule: where a
    /// dropped range stood in front of a `!`, that `!` negates; and a hyphen left without a first end
    /// stands for itself.
    fn from_body(body: &[char]) -> Class {
        let mut chunks = without_reversed_ranges(cut_at_ranges(body));
        let negated = chunks[0].first() == Some(&'!');
        if negated {
            chunks[0].remove(0);
        }
        let mut ranges: Vec<_> = chunks.iter().flatten().map(|&c| c..=c).collect();
        for neighbours in chunks.windows(2) {
            ranges.push(match (neighbours[0].last(), neighbours[1].first()) {
                (Some(&low), Some(&high)) => low..=high,
                (None, _) | (_, None) => '-'..='-',
            });
        }
        Class { negated, ranges }
    }

    /// Tells whether the expression takes a character.
    pub(super) fn contains(&self, character: char) -> bool {
        self.ranges.iter().any(|range| range.contains(&character)) != self.negated
    }
}

/// Cuts a body at the hyphens that make ranges: the last character of a chunk and the first of the next are
/// a range's ends.
///
/// A hyphen needs a character before it that is not the end of another range; one that is last stands for
/// itself.
fn cut_at_ranges(body: &[char]) -> Vec<Vec<char>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut earliest = if body[0] == '!' { 2 } else { 1 };
    while let Some(hyphen) = (earliest..body.len()).find(|&place| body[place] == '-') {
        chunks.push(body[start..hyphen].to_vec());
        start = hyphen + 1;
        earliest = hyphen + 3;
    }
    match chunks.last_mut() {
        Some(last) if start == body.len() => last.push('-'),
        Some(_) | None => chunks.push(body[start..].to_vec()),
    }
    chunks
}

/// Joins chunks whose range runs backwards (`[z-a]`), without its two ends.
fn without_reversed_ranges(mut chunks: Vec<Vec<char>>) -> Vec<Vec<char>> {
    for place in (1..chunks.len()).rev() {
        if chunks[place - 1].last() > chunks[place].first() {
            let behind = chunks.remove(place);
            chunks[place - 1].pop();
            chunks[place - 1].extend(&behind[1..]);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &str) -> String {
        let class = Class::from_body(&body.chars().collect::<Vec<_>>());
        (' '..='~').filter(|&c| class.contains(c)).collect()
    }

    #[test]
    fn hyphens_make_ranges_or_stand_for_themselves() {
        for (body, expected) in [
            ("abc", "abc"),
            ("a-d", "abcd"),
            ("a-a", "a"),
            ("a-", "-a"),
            ("-a", "-a"),
            ("a-c-e", "-abce"),
            ("+--", "+,-"),
            ("a-cx-z", "abcxyz"),
        ] {
            assert_eq!(taken(body), expected, "[{body}]");
        }
    }

    #[test]
    fn reversed_ranges_drop_out_with_both_ends() {
        for (body, expected) in [("b-a", ""), ("xb-ay", "xy"), ("z-ac-f", "cdef")] {
            assert_eq!(taken(body), expected, "[{body}]");
        }
    }

    #[test]
    fn an_exclamation_mark_behind_a_dropped_range_negates() {
        let all: String = (' '..='~').collect();
        assert_eq!(taken("b-a!"), all);
        assert_eq!(taken("b-a!x"), all.replace('x', ""));
        assert_eq!(taken("b-a!-z"), all.replace(['-', 'z'], ""));
    }

    #[test]
    fn the_first_bracket_is_a_member_and_an_unclosed_one_is_none() {
        let parse = |text: &str| Class::parse(&text.chars().collect::<Vec<_>>());
        let (class, length) = parse("]a]b").unwrap();
        assert_eq!(
            (length, class.contains(']'), class.contains('a'), class.contains('b')),
            (3, true, true, false)
        );
        for text in ["", "]", "!", "!]", "abc", "!abc"] {
            assert_eq!(parse(text), None, "[{text}");
        }
    }
}
