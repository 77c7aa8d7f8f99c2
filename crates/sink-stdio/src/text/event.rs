//! Events.

use std::fmt::Write;

use callbox_core::{Event, FunctionName, LiveArguments, RecordedError};
use time::OffsetDateTime;

use super::value::{Style, push_value};

const WIDTH: usize = 80;
/// Blanks before a value under its label.
const ARGUMENT_INDENT: usize = 4;
const RESULT_INDENT: usize = 2;

/// Appends an event's lines.
pub(crate) fn push_event(out: &mut String, event: &Event<'_>) {
    match event {
        Event::Started { at, system } => push_header(out, *at, system),
        Event::CallNamed { at, function } => push_name(out, *at, function),
        Event::CallStarted { at, function, arguments, statistics } => {
            push_rule(out, '=');
            push_name(out, *at, function);
            push_rule(out, '-');
            push_arguments(out, arguments, Style { statistics: *statistics });
        }
        Event::CallReturned { result, statistics } => {
            out.push_str("Output value:\n");
            push_value(out, &result.value, RESULT_INDENT, Style { statistics: *statistics });
            out.push('\n');
            push_end(out);
        }
        Event::CallFailed { error } => push_error(out, error),
        Event::InputsDumped { location, bytes, count, max_count } => {
            let megabytes = megabytes(*bytes);
            line(
                out,
                format_args!(
                    "Dumped inputs to: {location} (size: {megabytes:.2} MB, total: {count}/{max_count} dumps)"
                ),
            );
            line(out, format_args!("Inputs dumped to: {location}"));
        }
        Event::OutputsDumped { location, bytes, total_bytes } => {
            let (megabytes, total) = (megabytes(*bytes), megabytes(*total_bytes));
            line(
                out,
                format_args!(
                    "Dumped outputs to: {location} (output size: {megabytes:.2} MB, total dump size: {total:.2} MB)"
                ),
            );
            line(out, format_args!("Outputs dumped to: {location}"));
        }
        Event::Notice { text } => line(out, format_args!("{text}")),
    }
}

fn push_header(out: &mut String, at: OffsetDateTime, system: &[(String, String)]) {
    push_rule(out, '=');
    push_time(out, at);
    out.push_str(" FlashInfer API Logging - System Information\n");
    push_rule(out, '=');
    for (label, value) in system {
        line(out, format_args!("{label}: {value}"));
    }
    push_end(out);
}

fn push_name(out: &mut String, at: OffsetDateTime, function: &FunctionName) {
    push_time(out, at);
    line(out, format_args!(" FlashInfer API Call: {}", function.name()));
}

fn push_arguments(out: &mut String, arguments: &LiveArguments<'_>, style: Style) {
    if arguments.positional.is_empty() && arguments.keyword.is_empty() {
        out.push_str("(No explicit arguments)\n");
    }
    if !arguments.positional.is_empty() {
        out.push_str("Positional input arguments:\n");
    }
    for (place, value) in arguments.positional.iter().enumerate() {
        line(out, format_args!("  arg[{place}]:"));
        push_value(out, value, ARGUMENT_INDENT, style);
        out.push('\n');
    }
    if !arguments.keyword.is_empty() {
        out.push_str("Keyword input arguments:\n");
    }
    for (name, value) in &arguments.keyword {
        line(out, format_args!("  {name}="));
        push_value(out, value, ARGUMENT_INDENT, style);
        out.push('\n');
    }
}

/// Closes the block of a call that failed. FlashInfer leaves it open; but an error is a result in Rust, and a log
/// that does not tell it looks like a crash.
fn push_error(out: &mut String, error: &RecordedError) {
    let RecordedError { kind, type_name, text } = error;
    out.push_str("No output value:\n");
    line(out, format_args!("  {kind} ({type_name}): {text}"));
    push_end(out);
}

fn push_end(out: &mut String) {
    push_rule(out, '=');
    out.push('\n');
}

fn push_rule(out: &mut String, character: char) {
    out.extend(std::iter::repeat_n(character, WIDTH));
    out.push('\n');
}

/// Appends `[YYYY-MM-DD HH:MM:SS]`.
fn push_time(out: &mut String, at: OffsetDateTime) {
    let (date, time) = (at.date(), at.time());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    append(out, format_args!("[{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}]"));
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn line(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    append(out, arguments);
    out.push('\n');
}

pub(super) fn append(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes everything");
}
