//! `fnmatch` against the answers of Python's own for 200,000 random cases, which `tests/data/fnmatch.py` generates.

use callbox_core::filter::fnmatch;

/// Bit n, from the lowest of the first byte: whether case n matches.
const ANSWERS: &[u8] = include_bytes!("../../data/fnmatch.bits");
const SEED: u64 = 0x5eed;
const CASES: usize = 200_000;

const CHARACTERS: &str =
    "abcxyzABZ019_.abcz--!!??**[[]]^{},\\|&~$()+# \n\r\t/:é\u{436}\u{4e2d}\u{1f600}\0\u{7f}\u{2028}";
const IN_BRACKETS: &str = "abcz-!^]\\[&|~é-";

#[test]
fn every_case_is_answered_as_python_answers_it() {
    assert_eq!(ANSWERS.len(), CASES.div_ceil(8));
    let mut generator = Generator(SEED);
    let mut matching = 0;
    for case in 0..CASES {
        let pattern = generator.pattern();
        let text = generator.fitting_text(&pattern);
        let (pattern, text): (String, String) = (pattern.iter().collect(), text.iter().collect());
        let expected = ANSWERS[case / 8] >> (case % 8) & 1 == 1;
        assert_eq!(fnmatch(&pattern, &text), expected, "case {case}: {pattern:?} on {text:?}");
        matching += usize::from(expected);
    }
    // Other numbers would mean that the two generators have gone apart.
    assert_eq!((CASES - matching, matching), (108_504, 91_496));
}

/// splitmix64, as in the script.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick(&mut self, characters: &[char]) -> char {
        characters[self.below(characters.len())]
    }

    fn character(&mut self) -> char {
        self.pick(&chars(CHARACTERS))
    }

    fn bracket(&mut self) -> Vec<char> {
        let mut piece = chars("[");
        piece.extend(["", "", "!", "^", "]"][self.below(5)].chars());
        if self.below(10) == 0 {
            piece.extend("b-a!".chars());
            piece.extend(["", "-"][self.below(2)].chars());
        }
        for _ in 0..1 + self.below(7) {
            piece.push(self.pick(&chars(IN_BRACKETS)));
        }
        piece.extend(["]", "]", "]", ""][self.below(4)].chars());
        piece
    }

    fn pattern(&mut self) -> Vec<char> {
        let mut pieces = Vec::new();
        for _ in 0..self.below(9) {
            if self.below(5) < 2 {
                pieces.extend(self.bracket());
            } else {
                pieces.push(self.character());
            }
        }
        pieces
    }

    /// Makes a text with a fair chance to match.
    fn fitting_text(&mut self, pattern: &[char]) -> Vec<char> {
        let mut text = Vec::new();
        let mut place = 0;
        while place < pattern.len() {
            let behind = pattern.get(place + 2..).unwrap_or_default();
            let closing = behind.iter().position(|&c| c == ']').map(|found| place + 2 + found);
            match (pattern[place], closing) {
                ('[', Some(closing)) if self.below(10) > 0 => {
                    let inside = [&pattern[place + 1..closing], &chars("abm^-é")].concat();
                    text.push(self.pick(&inside));
                    place = closing;
                }
                ('*', _) => {
                    for _ in 0..self.below(4) {
                        text.push(self.character());
                    }
                }
                ('?', _) => text.push(self.character()),
                (character, _) => text.push(character),
            }
            place += 1;
        }
        if !text.is_empty() && self.below(7) == 0 {
            text.remove(self.below(text.len()));
        }
        text
    }
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}
