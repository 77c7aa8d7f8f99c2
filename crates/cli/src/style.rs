//! What goes to a person: colours, and lines on stderr. `anstream` strips colours where the output is no
//! terminal or NO_COLOR is set.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use callbox_convert::DeviationKind;
use callbox_core::{CallState, Finding};
use callbox_replay::Verdict;

use crate::units;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();
const ALARM: Style = RED.bold();
const DIM: Style = Style::new().dimmed();

/// Writes a line to stderr. Where that fails there is nobody to tell.
pub(crate) fn tell(line: &str) {
    writeln!(anstream::stderr(), "{line}").ok();
}

/// Returns the columns of the terminal; `None` where standard output is none.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = terminal_size::terminal_size().filter(|_| io::stdout().is_terminal());
    size.map(|(terminal_size::Width(width), _)| usize::from(width))
}

/// Breaks a text into lines of at most so many characters, at blanks where there are any.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut len = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if len > 0 && len + 1 + word.len() <= width {
            lines.last_mut().expect("there is one line at least").push(' ');
            len += 1;
        } else if len > 0 {
            lines.push(String::new());
            len = 0;
        }
        while word.len() > width {
            let rest = word.split_off(width);
            lines.last_mut().expect("there is one line at least").extend(word);
            lines.push(String::new());
            word = rest;
        }
        len += word.len();
        lines.last_mut().expect("there is one line at least").extend(word);
    }
    lines
}

/// Tells the first remarks about a session's files; a flood of them would hide everything else.
pub(crate) fn tell_findings(findings: &[Finding]) {
    const SHOWN: usize = 5;
    for finding in findings.iter().take(SHOWN) {
        tell(&format!("note: {}", clean(&finding.to_string())));
    }
    if findings.len() > SHOWN {
        tell(&format!("note: {} more; --json has all", units::count(findings.len() - SHOWN)));
    }
}

/// Escapes what would move the cursor, turn the text round or start a new line.
///
/// Names and texts of a dump come from other people's machines: printed as they are, they could forge a line of
/// the report or steer the terminal.
pub(crate) fn clean(text: &str) -> String {
    let is_harmless = |c: &char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmless(&c) { clean.push(c) } else { clean.extend(c.escape_default()) }
    }
    clean
}

/// Quotes a text for a shell, where it needs that.
pub(crate) fn shell(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let text = if text.starts_with('-') { format!("./{text}") } else { text.to_owned() };
    format!("'{}'", clean(&text).replace('\'', r"'\''"))
}

/// Wraps a text into a style.
pub(crate) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns the style of what is secondary.
pub(crate) fn dim() -> Style {
    DIM
}

/// Returns the style of what went wrong.
pub(crate) fn red() -> Style {
    RED
}

/// Returns the style of what may be well or not.
pub(crate) fn yellow() -> Style {
    YELLOW
}

/// Returns the style of a verdict.
pub(crate) fn verdict(verdict: &Verdict) -> Style {
    match verdict {
        Verdict::Passed => GREEN,
        Verdict::Mismatch => YELLOW,
        Verdict::Failed { .. } | Verdict::Damaged { .. } => RED,
        Verdict::Incomplete { .. } | Verdict::Died { .. } => ALARM,
        Verdict::NothingCompared | Verdict::Skipped { .. } => DIM,
    }
}

/// Returns the style of a call's state; the suspected crash is what the eye should fall on.
pub(crate) fn state(state: &CallState) -> Style {
    match state {
        CallState::Completed => Style::new(),
        CallState::InputsSaved => ALARM,
        CallState::OutputsUnconfirmed | CallState::Failed => YELLOW,
        CallState::Damaged { .. } => RED,
        CallState::OutputsSkipped
        | CallState::GraphPending
        | CallState::GraphCaptured
        | CallState::NotStarted => DIM,
    }
}

/// Returns the style of something that was not converted as asked.
pub(crate) fn deviation(kind: DeviationKind) -> Style {
    match kind {
        DeviationKind::Kept | DeviationKind::LeftOut => YELLOW,
        DeviationKind::Damaged => RED,
        DeviationKind::Differs => ALARM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_start_a_line_or_steer_the_terminal() {
        assert_eq!(clean("echo): ok\n[2] \u{1b}[31m\u{202e}ü"), "echo): ok\\n[2] \\u{1b}[31m\\u{202e}ü");
    }

    #[test]
    fn a_text_is_broken_at_blanks_and_a_long_word_anywhere() {
        for (text, width, lines) in [
            ("a bc def", 4, &["a bc", "def"][..]),
            ("abcdefgh ij", 3, &["abc", "def", "gh", "ij"]),
            ("a  b", 9, &["a  b"]),
            ("", 5, &[""]),
        ] {
            assert_eq!(wrapped(text, width), lines, "{text}");
        }
        let text = "its hash is xxh3:06b05ab6733a618578af5f94892f3950 where another was written";
        assert!((1..90).all(|width| wrapped(text, width).iter().all(|line| line.len() <= width)));
    }

    #[test]
    fn a_path_can_be_pasted_into_a_shell() {
        for (path, quoted) in [("./dumps", "./dumps"), ("a b'c", r"'a b'\''c'"), ("-d", "'./-d'"), ("", "''")]
        {
            assert_eq!(shell(path), quoted);
        }
    }
}
