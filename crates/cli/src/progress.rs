//! How far something has come that takes more than a moment.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that appears when it is known how many calls there are, and is gone when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Steps(Option<ProgressBar>);

impl Steps {
    /// Shows that so many of the calls are done.
    pub(crate) fn show(&mut self, done: usize, calls: usize) {
        self.0.get_or_insert_with(|| bar(calls)).set_position(done as u64);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.iter().for_each(ProgressBar::finish_and_clear);
    }
}

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
