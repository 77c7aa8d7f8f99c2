//! What goes to a person: colours, and lines on stderr. `anstream` strips colours where the output is no
//! terminal or NO_COLOR is set.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use callbox_core::CallState;
use callbox_replay::Verdict;

const GREEN: Style = AnsiColor::Green.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const RED: Style = AnsiColor::Red.on_default();
const ALARM: Style = RED.bold();
const DIM: Style = Style::new().dimmed();

/// Writes a line to stderr. Where that fails there is nobody to tell.
pub(crate) fn tell(line: &str) {
    writeln!(anstream::stderr(), "{line}").ok();
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

/// Returns the style of a verdict.
pub(crate) fn verdict(verdict: &Verdict) -> Style {
    match verdict {
        Verdict::Passed => GREEN,
        Verdict::Mismatch => YELLOW,
        Verdict::Failed { .. } | Verdict::Damaged { .. } => RED,
        Verdict::Incomplete { .. } => ALARM,
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
