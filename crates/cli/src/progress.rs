//! How far something has come that takes more than a moment.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr, where that is a terminal.
pub(crate) fn bar(calls: usize) -> ProgressBar {
    const WORTH_A_BAR: usize = 2;
    if calls < WORTH_A_BAR || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(calls as u64), ProgressDrawTarget::stderr_with_hz(10));
    let template = "{bar:30} {pos}/{len} calls  {elapsed} (about {eta} left)";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
