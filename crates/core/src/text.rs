//! Text as Python has it: Unicode that may hold lone surrogates.

use std::borrow::Cow;
use std::fmt;

/// A string of Unicode code points, lone surrogates included.
///
/// Python strings may hold them and FlashInfer's records keep them (`"\ud800"`), so a Rust `String` cannot
/// carry every recorded text. Stored as WTF-8: UTF-8 in which a lone surrogate has its own three bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text {
    wtf8: Vec<u8>,
}

impl Text {
    /// Appends a code point; a lead surrogate followed by a trail surrogate becomes the character they
    /// stand for. Values above 0x10ffff are ignored: no caller can form one.
    pub fn push_code_point(&mut self, code_point: u32) {
        if let (Some(lead), true) = (self.trailing_lead(), (0xdc00..0xe000).contains(&code_point)) {
            self.wtf8.truncate(self.wtf8.len() - 3);
            self.push_code_point(0x10000 + ((lead - 0xd800) << 10) + (code_point - 0xdc00));
            return;
        }
        match char::from_u32(code_point) {
            Some(character) => self.push_str(character.encode_utf8(&mut [0; 4])),
            None if code_point < 0x10000 => self.wtf8.extend([
                0xe0 | (code_point >> 12) as u8,
                0x80 | (code_point >> 6 & 0x3f) as u8,
                0x80 | (code_point & 0x3f) as u8,
            ]),
            None => {}
        }
    }

    /// Appends ordinary text.
    pub fn push_str(&mut self, text: &str) {
        self.wtf8.extend(text.as_bytes());
    }

    fn trailing_lead(&self) -> Option<u32> {
        match self.wtf8[..] {
            [.., 0xed, second @ 0xa0..=0xaf, third] => {
                Some(0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f))
            }
            _ => None,
        }
    }

    /// Returns the text, if it holds no lone surrogate.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.wtf8).ok()
    }

    /// Returns the text with each lone surrogate replaced by U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match self.as_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.code_points().map(|c| char::from_u32(c).unwrap_or('\u{fffd}')).collect()),
        }
    }

    /// Iterates over the code points, lone surrogates among them.
    pub fn code_points(&self) -> impl Iterator<Item = u32> {
        let mut rest = self.wtf8.as_slice();
        std::iter::from_fn(move || {
            let (&first, _) = rest.split_first()?;
            let (len, start) = match first {
                0x00..0x80 => (1, u32::from(first)),
                0x80..0xe0 => (2, u32::from(first & 0x1f)),
                0xe0..0xf0 => (3, u32::from(first & 0x0f)),
                0xf0.. => (4, u32::from(first & 0x07)),
            };
            let (sequence, behind) = rest.split_at(len);
            rest = behind;
            Some(sequence[1..].iter().fold(start, |code, byte| code << 6 | u32::from(byte & 0x3f)))
        })
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text { wtf8: text.as_bytes().to_vec() }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text { wtf8: text.into_bytes() }
    }
}

/// Writes the text with lone surrogates replaced by U+FFFD.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string_lossy())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_string_lossy(), f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ordinary_text_passes_through(text in any::<String>()) {
            let mut built = Text::default();
            text.chars().for_each(|c| built.push_code_point(u32::from(c)));
            prop_assert_eq!(&built, &Text::from(text.as_str()));
            prop_assert_eq!(built.as_str(), Some(text.as_str()));
            prop_assert!(built.code_points().eq(text.chars().map(u32::from)));
        }
    }

    #[test]
    fn a_surrogate_pair_becomes_one_character_and_a_lone_one_stays() {
        let mut text = Text::default();
        [0xd83d, 0xde00, 0xd800, 0x61, 0xdc00].into_iter().for_each(|c| text.push_code_point(c));
        assert_eq!(text.as_str(), None);
        assert_eq!(text.code_points().collect::<Vec<_>>(), [0x1f600, 0xd800, 0x61, 0xdc00]);
        assert_eq!(text.to_string(), "\u{1f600}\u{fffd}a\u{fffd}");
    }
}
