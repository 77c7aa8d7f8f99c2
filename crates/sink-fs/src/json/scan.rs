//! Reads JSON piece by piece, without building anything.

use callbox_core::planted;

use super::token::{Kind, Number, RawString, utf8};
use super::{JsonError, MAX_DEPTH};

/// Walks through one JSON text. Whatever is stepped over is checked against the grammar; only keys that
/// appear twice are left to those who look at keys.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    /// UTF-8, as was checked at the start; places between tokens are places between characters.
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// There is a control character somewhere: blank between tokens, wrong inside strings.
    has_controls: bool,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Scanner<'a>, JsonError> {
        // Recorders escape whatever is not ASCII. One pass over all bytes, without a branch, is much faster
        // than to look at each string for what must not be in it.
        let (lowest, highest) =
            bytes.iter().fold((u8::MAX, 0), |(lowest, highest), &byte| (byte.min(lowest), byte.max(highest)));
        if highest >= 0x80 {
            check_text(bytes)?;
        }
        let has_controls = lowest < 0x20;
        Ok(Scanner { bytes, at: 0, depth: 0, has_controls })
    }

    /// Returns the place in bytes from the start.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Looks at the first byte of the next value.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<Kind, JsonError> {
        match self.next_byte() {
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            Some(_) | None => Err(self.expected("a value")),
        }
    }

    /// Reads an object; `entry` has to take each value.
    #[inline]
    pub(crate) fn object(
        &mut self,
        mut entry: impl FnMut(&mut Scanner<'a>, RawString<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'{', "an object")?;
        let mut more = !self.takes(b'}');
        while more {
            let key = self.string()?;
            if !self.takes(b':') {
                return Err(self.expected("a colon"));
            }
            entry(self, key)?;
            more = self.continues(b'}', "a comma or the end of the object")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an array; `item` has to take each value.
    #[inline]
    pub(crate) fn array(
        &mut self,
        mut item: impl FnMut(&mut Scanner<'a>) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.open(b'[', "an array")?;
        let mut more = !self.takes(b']');
        while more {
            item(self)?;
            more = self.continues(b']', "a comma or the end of the array")?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a string.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<RawString<'a>, JsonError> {
        if self.next_byte() != Some(b'"') {
            return Err(self.expected("a string"));
        }
        let body = &self.bytes[self.at + 1..];
        let plain = plain_len(body);
        if body.get(plain) != Some(&b'"') {
            return self.escaped_string();
        }
        let raw = &body[..plain];
        if self.has_controls {
            refuse_controls(raw, self.at + 1)?;
        }
        self.at += plain + 2;
        Ok(RawString::new(raw, false))
    }

    /// Reads a string that has escapes in it or does not end.
    #[cold]
    fn escaped_string(&mut self) -> Result<RawString<'a>, JsonError> {
        let start = self.at + 1;
        self.at = start;
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.byte() {
                Some(b'"') => break,
                Some(_) => self.escape()?,
                None => return Err(JsonError::new(self.at, "the text ends inside a string")),
            }
        }
        let raw = &self.bytes[start..self.at];
        refuse_controls(raw, start)?;
        self.at += 1;
        Ok(RawString::new(raw, true))
    }

    /// Reads a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number<'a>, JsonError> {
        let first = self.next_byte();
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let is_whole = !matches!(rest.get(len), Some(b'.' | b'e' | b'E'));
        if is_whole && (len == 1 || len > 1 && first != Some(b'0')) {
            self.at += len;
            return Ok(Number::Integer(&rest[..len]));
        }
        self.unusual_number()
    }

    /// Reads a number that is more than a few digits.
    fn unusual_number(&mut self) -> Result<Number<'a>, JsonError> {
        let start = self.at;
        let negative = self.takes_here(b'-');
        match (self.byte(), negative) {
            (Some(b'1'..=b'9'), _) => self.digits(),
            (Some(b'0'), _) => self.at += 1,
            (Some(b'N'), false) => return self.word("NaN").map(|()| Number::NaN),
            (Some(b'I'), false) => return self.word("Infinity").map(|()| Number::Infinity),
            (Some(b'I'), true) => return self.word("Infinity").map(|()| Number::MinusInfinity),
            (Some(_) | None, _) => return Err(self.expected("a digit")),
        }
        let whole = self.at;
        if self.takes_here(b'.') {
            self.some_digits()?;
        }
        if self.takes_here(b'e') || self.takes_here(b'E') {
            if !self.takes_here(b'+') {
                self.takes_here(b'-');
            }
            self.some_digits()?;
        }
        let spelled = &self.bytes[start..self.at];
        Ok(if self.at == whole { Number::Integer(spelled) } else { Number::Decimal(spelled) })
    }

    /// Reads `true` or `false`.
    pub(crate) fn bool(&mut self) -> Result<bool, JsonError> {
        self.next_byte();
        let value = self.byte() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Reads `null`.
    pub(crate) fn null(&mut self) -> Result<(), JsonError> {
        self.next_byte();
        self.word("null")
    }

    /// Steps over a value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), JsonError> {
        match self.peek()? {
            Kind::String => self.string().map(|_| ()),
            Kind::Number => self.number().map(|_| ()),
            Kind::Object => self.object(|scanner, _| scanner.skip()),
            Kind::Array => self.array(Scanner::skip),
            Kind::Bool => self.bool().map(|_| ()),
            Kind::Null => self.null(),
        }
    }

    /// Steps over a value and returns how it is spelled.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], JsonError> {
        self.next_byte();
        let start = self.at;
        self.skip()?;
        Ok(&self.bytes[start..self.at])
    }

    /// Steps over a string or container if the next one begins with the bytes of one that was read before at
    /// the same depth: then it is the same, since such a value says itself where it ends.
    pub(crate) fn takes_known(&mut self, known: &[u8]) -> bool {
        self.next_byte();
        let rest = &self.bytes[self.at..];
        // Most of what differs differs in length, and then at the end.
        let found = rest.get(known.len().saturating_sub(1)) == known.last() && rest.starts_with(known);
        self.at += if found { known.len() } else { 0 };
        found
    }

    /// Makes sure that nothing but blanks follows.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(JsonError::new(self.at, "more text behind the value")),
        }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Steps over blanks and looks at the byte behind them.
    #[inline]
    fn next_byte(&mut self) -> Option<u8> {
        // Recorders write one blank or none.
        if self.byte() == Some(b' ') {
            self.at += 1;
        }
        match self.byte() {
            Some(b' ' | b'\t' | b'\n' | b'\r') => self.skip_blanks(),
            other => other,
        }
    }

    #[cold]
    fn skip_blanks(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
        self.byte()
    }

    fn takes_here(&mut self, byte: u8) -> bool {
        let found = self.byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.next_byte() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn open(&mut self, bracket: u8, what: &str) -> Result<(), JsonError> {
        if !self.takes(bracket) {
            return Err(self.expected(what));
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH && !planted::bug("depth_unlimited") {
            return Err(JsonError::new(self.at - 1, format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// Takes a comma, or else the bracket that ends the container.
    fn continues(&mut self, bracket: u8, expected: &str) -> Result<bool, JsonError> {
        let next = self.next_byte();
        if next != Some(b',') && next != Some(bracket) {
            return Err(self.expected(expected));
        }
        self.at += 1;
        Ok(next == Some(b','))
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
    }

    fn some_digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.expected("a digit")) } else { Ok(()) }
    }

    /// Steps over a backslash and what belongs to it.
    fn escape(&mut self) -> Result<(), JsonError> {
        let len = match &self.bytes[self.at + 1..] {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
            [b'u', digits @ ..] if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) => 5,
            [] => return Err(JsonError::new(self.at + 1, "the text ends inside a string")),
            [..] => return Err(JsonError::new(self.at, "an escape that JSON does not have")),
        };
        self.at += 1 + len;
        Ok(())
    }

    #[cold]
    fn expected(&self, what: &str) -> JsonError {
        let found = utf8(&self.bytes[self.at..]).chars().next();
        let found = found.map_or_else(|| "the end of the text".to_owned(), |found| format!("{found:?}"));
        JsonError::new(self.at, format!("expected {what}, found {found}"))
    }
}

/// Checks a text that is not ASCII alone.
#[cold]
fn check_text(bytes: &[u8]) -> Result<(), JsonError> {
    let text = str::from_utf8(bytes)
        .map_err(|error| JsonError::new(error.valid_up_to(), "the bytes are not UTF-8"))?;
    if text.starts_with('\u{feff}') {
        return Err(JsonError::new(0, "a byte order mark"));
    }
    Ok(())
}

/// Counts the bytes before the first quote or backslash.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    // The high bit of each byte that is zero. A borrow may mark bytes above the first such one, never below
    // it, so the lowest mark is exact.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, _) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().take(4).enumerate() {
        let word = u64::from_le_bytes(*word);
        let marks = zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')));
        if marks != 0 {
            return place * 8 + marks.trailing_zeros() as usize / 8;
        }
    }
    let looked_at = words.len().min(4) * 8;
    let rest = &bytes[looked_at..];
    looked_at + memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len())
}

#[cold]
fn refuse_controls(raw: &[u8], start: usize) -> Result<(), JsonError> {
    match raw.iter().position(|byte| *byte < 0x20) {
        Some(place) => Err(JsonError::new(start + place, "a control character inside a string")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn plain_runs_end_where_a_plain_search_ends_them(
            bytes in prop::collection::vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'"'), 1 => Just(b'\\')], 0..60),
        ) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'));
            prop_assert_eq!(plain_len(&bytes), expected.unwrap_or(bytes.len()));
        }
    }

    fn skips(text: &str) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(text.as_bytes())?;
        scanner.skip()?;
        scanner.end()
    }

    #[test]
    fn raw_returns_a_value_as_it_is_spelled() {
        let mut scanner = Scanner::new(br#" {"a": [1, "x\"]"], "b": 2}"#).unwrap();
        let mut spelled = Vec::new();
        scanner
            .object(|scanner, key| {
                spelled.push((key.to_string_lossy().into_owned(), utf8(scanner.raw()?)));
                Ok(())
            })
            .unwrap();
        assert_eq!(spelled, [("a".to_owned(), r#"[1, "x\"]"]"#), ("b".to_owned(), "2")]);
    }

    #[test]
    fn errors_name_the_place_and_what_was_expected() {
        for (text, error) in [
            ("{\"a\" 1}", "column 6: expected a colon, found '1'"),
            ("[1 2]", "column 4: expected a comma or the end of the array, found '2'"),
            ("\"ab", "column 4: the text ends inside a string"),
            ("[1,", "column 4: expected a value, found the end of the text"),
            ("{} {}", "column 4: more text behind the value"),
            ("\"\\q\"", "column 2: an escape that JSON does not have"),
        ] {
            assert_eq!(skips(text).unwrap_err().to_string(), error, "{text}");
        }
    }
}
