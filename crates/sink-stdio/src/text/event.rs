//! Events, each as the lines that FlashInfer's log has for it.

use callbox_core::{Event, LiveArguments, LiveResult, RecordedError};
use time::OffsetDateTime;

use super::value::{Style, push_value};
use super::{append, push_line};

/// 80 characters, above and below a block.
const RULE: &str = "================================================================================\n";
/// 80 characters, below a block's title.
const THIN_RULE: &str = "--------------------------------------------------------------------------------\n";

/// Appends an event's lines, the last one ended too.
pub(crate) fn push_event(out: &mut String, event: &Event<'_>) {
    match event {
        Event::Started { at, system } => push_header(out, *at, system),
        Event::CallNamed { at, function } => push_call(out, *at, function.name()),
        Event::CallStarted { at, function, arguments, statistics } => {
            out.push_str(RULE);
            push_call(out, *at, function.name());
            out.push_str(THIN_RULE);
            push_arguments(out, arguments, Style { statistics: *statistics });
        }
        Event::CallReturned { result, statistics } => {
            push_result(out, result, Style { statistics: *statistics });
        }
        Event::CallFailed { error } => push_error(out, error),
        Event::InputsDumped { location, bytes, count, max_count, is_deferred } => append(
            out,
            format_args!(
                "Dumped inputs to: {location} (size: {:.2} MB, total: {count}/{max_count} dumps{})\n\
                 Inputs dumped to: {location}\n",
                megabytes(*bytes),
                deferred(*is_deferred)
            ),
        ),
        Event::OutputsDumped { location, bytes, total_bytes, is_deferred } => append(
            out,
            format_args!(
                "Dumped outputs to: {location} (output size: {:.2} MB, total dump size: {:.2} MB{})\n\
                 Outputs dumped to: {location}\n",
                megabytes(*bytes),
                megabytes(*total_bytes),
                deferred(*is_deferred)
            ),
        ),
        Event::Notice { text } => {
            push_line(out, text);
            out.push('\n');
        }
    }
}

/// FlashInfer's words for what a later flush writes.
fn deferred(is_deferred: bool) -> &'static str {
    if is_deferred { ", graph-deferred" } else { "" }
}

fn push_header(out: &mut String, at: OffsetDateTime, system: &[(String, String)]) {
    out.push_str(RULE);
    push_time(out, at);
    out.push_str("FlashInfer API Logging - System Information\n");
    out.push_str(RULE);
    for (label, value) in system {
        append(out, format_args!("{label}: {value}\n"));
    }
    push_end(out);
}

fn push_call(out: &mut String, at: OffsetDateTime, name: &str) {
    push_time(out, at);
    out.push_str("FlashInfer API Call: ");
    out.push_str(name);
    out.push('\n');
}

fn push_arguments(out: &mut String, arguments: &LiveArguments<'_>, style: Style) {
    let LiveArguments { positional, keyword, self_id: _ } = arguments;
    if positional.is_empty() && keyword.is_empty() {
        return out.push_str("(No explicit arguments)\n");
    }
    if !positional.is_empty() {
        out.push_str("Positional input arguments:\n");
    }
    for (place, value) in positional.iter().enumerate() {
        append(out, format_args!("  arg[{place}]:\n"));
        push_value(out, value, 2, style);
    }
    if !keyword.is_empty() {
        out.push_str("Keyword input arguments:\n");
    }
    for (name, value) in keyword {
        append(out, format_args!("  {name}=\n"));
        push_value(out, value, 2, style);
    }
}

fn push_result(out: &mut String, result: &LiveResult<'_>, style: Style) {
    out.push_str("Output value:\n");
    push_value(out, &result.value, 1, style);
    push_end(out);
}

fn push_error(out: &mut String, error: &RecordedError) {
    let RecordedError { kind, type_name, text } = error;
    out.push_str("Error:\n");
    // The type of a panic's payload says nothing.
    let label = if kind == "panic" { kind } else { type_name };
    for (place, line) in text.trim_end().split('\n').enumerate() {
        out.push_str("  ");
        if place == 0 && !label.is_empty() {
            append(out, format_args!("{label}: "));
        }
        push_line(out, line);
        out.push('\n');
    }
    push_end(out);
}

/// Ends a block: a rule and an empty line.
fn push_end(out: &mut String) {
    out.push_str(RULE);
    out.push('\n');
}

/// Appends `[2026-01-02 03:04:05] `.
fn push_time(out: &mut String, at: OffsetDateTime) {
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second) = at.to_hms();
    let month = u8::from(month);
    append(out, format_args!("[{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}] "));
}

/// Counts in units of 2^20 bytes.
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: &Event<'_>, expected: &str) {
        let mut out = String::new();
        push_event(&mut out, event);
        assert_eq!(out, expected);
    }

    fn check_error(kind: &str, type_name: &str, text: &str, lines: &str) {
        let error =
            RecordedError { kind: kind.to_owned(), type_name: type_name.to_owned(), text: text.to_owned() };
        check(&Event::CallFailed { error: &error }, &format!("Error:\n{lines}{RULE}\n"));
    }

    #[test]
    fn an_error_closes_the_block_and_no_line_of_it_looks_like_another_block() {
        check_error("error", "app::Error", "no", "  app::Error: no\n");
        check_error("panic", "&str", "index out of bounds", "  panic: index out of bounds\n");
        check_error("error", "Silent", "", "  Silent: \n");
        check_error("error", "", "no\n====\u{1b}", "  no\n  ====\\x1b\n");
    }

    #[test]
    fn sizes_are_megabytes_of_two_to_the_twenty_with_two_decimals() {
        for (is_deferred, deferred) in [(false, ""), (true, ", graph-deferred")] {
            let (location, max_count) = ("d/c", 1000);
            check(
                &Event::InputsDumped { location, bytes: 3 << 19, count: 7, max_count, is_deferred },
                &format!(
                    "Dumped inputs to: d/c (size: 1.50 MB, total: 7/1000 dumps{deferred})\nInputs dumped to: d/c\n"
                ),
            );
            check(
                &Event::OutputsDumped { location, bytes: 5000, total_bytes: 5 << 30, is_deferred },
                &format!(
                    "Dumped outputs to: d/c (output size: 0.00 MB, total dump size: 5120.00 MB{deferred})\n\
                     Outputs dumped to: d/c\n"
                ),
            );
        }
    }

    #[test]
    fn a_notice_is_one_line() {
        check(&Event::Notice { text: "a\nb" }, "a\\nb\n");
    }
}
