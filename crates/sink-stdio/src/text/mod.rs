//! How the log is spelled: as FlashInfer spells it, blanks and all. What others wrote may neither steer a terminal
//! nor, where it is one line, become several.

mod event;
mod repr;
mod tensor;
mod value;

use std::fmt::{Arguments, Write};

use callbox_core::Text;
use callbox_core::python::push_escape;

pub(crate) use self::event::push_event;

/// How deep containers are shown; what is deeper is an ellipsis. Values are trees of any depth, the stack is not.
const MAX_DEPTH: usize = 64;
const ELLIPSIS: &str = "...";

/// Appends formatted text.
fn append(out: &mut String, text: Arguments<'_>) {
    out.write_fmt(text).expect("a String takes any text");
}

/// Appends a text of several lines, its other control characters escaped.
fn push_lines(out: &mut String, text: &str) {
    push_escaped(out, text, |character| !matches!(character, '\n' | '\t') && character.is_control());
}

/// Appends a text as one line, its control characters escaped.
fn push_line(out: &mut String, text: &str) {
    push_escaped(out, text, char::is_control);
}

/// Appends the text of an object as it is, its control characters escaped.
fn push_text(out: &mut String, text: &Text) {
    push_lines(out, &text.to_string_lossy());
}

fn push_escaped(out: &mut String, text: &str, is_escaped: impl Fn(char) -> bool) {
    if !text.contains(&is_escaped) {
        return out.push_str(text);
    }
    for character in text.chars() {
        if is_escaped(character) {
            push_escape(out, u32::from(character));
        } else {
            out.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_others_are_escaped() {
        let text = "a\n\tb\r\u{1b}[2J\u{9b}é";
        let (mut line, mut lines) = (String::new(), String::new());
        push_line(&mut line, text);
        push_lines(&mut lines, text);
        assert_eq!(line, "a\\n\\tb\\r\\x1b[2J\\x9bé");
        assert_eq!(lines, "a\n\tb\\r\\x1b[2J\\x9bé");
    }
}
