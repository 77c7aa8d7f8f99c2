//! `callbox list`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};

use callbox_core::{CallState, DumpedCall, Executor, GroupSummary, TensorMeta};
use callbox_replay::ExecutorFactory;
use serde::Serialize;

use crate::args::{ListArgs, ReadArgs};
use crate::exit::{Exit, Failure};
use crate::json::{self, CallJson, DescribedJson, FindingJson, GroupJson};
use crate::session::{self, Opened};
use crate::{style, units};

/// Lists the calls of a session.
pub(crate) fn run(
    arguments: &ListArgs,
    executors: &ExecutorFactory<'static>,
    program: &str,
) -> Result<Exit, Failure> {
    let opened = session::open(&arguments.dir, &ReadArgs { mmap: false })?;
    let filter = session::filter(&arguments.select);
    let calls = opened.session.calls.iter().enumerate();
    let calls: Vec<_> = calls
        .filter(|(_, call)| opened.is_wanted(call) && filter.allows(&call.function))
        .map(|(place, call)| (opened.number(place), call))
        .collect();
    let mut out = BufWriter::new(anstream::stdout().lock());
    if arguments.json {
        print_json(&mut out, &opened, &calls)?;
        return Ok(Exit::Good);
    }
    print_table(&mut out, &calls)?;
    print_summary(&mut out, &calls)?;
    if let Some(command) = next_command(&calls, &*executors()) {
        writeln!(out, "{program} {}", command.on(&style::shell(&arguments.dir.to_string_lossy())))?;
    }
    out.flush()?;
    if calls.is_empty() {
        style::tell(&opened.why_nothing());
    }
    style::tell_findings(&opened.session.findings);
    Ok(Exit::Good)
}

type Numbered<'a> = (usize, &'a DumpedCall);

/// One call as the table prints it.
struct Row {
    number: String,
    time: String,
    process: String,
    function: String,
    state: String,
    inputs: String,
    outputs: String,
}

fn print_table(out: &mut dyn Write, calls: &[Numbered<'_>]) -> io::Result<()> {
    let hosts: BTreeSet<_> = calls.iter().map(|(_, call)| host(call)).collect();
    let header = Row {
        number: "#".to_owned(),
        time: "time".to_owned(),
        process: if hosts.len() > 1 { "pid@host" } else { "pid" }.to_owned(),
        function: "function".to_owned(),
        state: "status".to_owned(),
        inputs: "inputs".to_owned(),
        outputs: "outputs".to_owned(),
    };
    let rows = || calls.iter().map(|&(number, call)| row(number, call, hosts.len() > 1));
    // The rows are formatted twice: a session of a million calls need not be held as text.
    let mut widths = cells(&header).map(|cell| cell.chars().count());
    for row in rows() {
        for (width, cell) in widths.iter_mut().zip(cells(&row)) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let columns = Columns::fit(widths, style::terminal_width());
    print_row(out, &header, &columns, style::dim())?;
    for (row, (_, call)) in rows().zip(calls) {
        print_row(out, &row, &columns, style::state(&call.state))?;
    }
    Ok(())
}

fn cells(row: &Row) -> [&str; 7] {
    [&row.number, &row.time, &row.process, &row.function, &row.state, &row.inputs, &row.outputs]
}

/// Widths of the columns, in characters.
struct Columns {
    number: usize,
    time: usize,
    process: usize,
    function: usize,
    state: usize,
    inputs: usize,
    /// Room for the results; without a terminal there is no end to it.
    outputs: usize,
    /// Cells are cut to their column.
    cut: bool,
}

impl Columns {
    /// Fits the widest cells into a terminal: first the tensors give way, then the function's name. The status
    /// is always whole.
    fn fit(widths: [usize; 7], terminal: Option<usize>) -> Columns {
        const GAP: usize = 2;
        let [number, time, process, function, state, inputs, outputs] = widths;
        let Some(terminal) = terminal else {
            // One call with many tensors should not push the others' results out of sight.
            let inputs = inputs.min(48);
            return Columns {
                number,
                time,
                process,
                function,
                state,
                inputs,
                outputs: usize::MAX,
                cut: false,
            };
        };
        let fixed = number + time + process + state + 5 * GAP;
        let function = function.min(terminal.saturating_sub(fixed + 20).max(12));
        let room = terminal.saturating_sub(fixed + function + GAP);
        // What the results do not need the arguments get, but never less than most of the room.
        let inputs = inputs.min(room.saturating_sub(outputs).max(room * 3 / 5));
        let outputs = room - inputs;
        Columns { number, time, process, function, state, inputs, outputs, cut: true }
    }
}

fn print_row(out: &mut dyn Write, row: &Row, columns: &Columns, status: anstyle::Style) -> io::Result<()> {
    let Columns { number, time, process, function, state, inputs, outputs, cut: is_cut } = *columns;
    let fitted = |cell: &str, room| if is_cut { cut_group(cell, room) } else { cell.to_owned() };
    let left = format!(
        "{:>number$}  {:<time$}  {:<process$}  {:<function$}",
        row.number,
        row.time,
        row.process,
        if is_cut { cut_middle(&row.function, function) } else { row.function.clone() }
    );
    let state = style::paint(status, &format!("{:<state$}", row.state));
    let right = format!("{:<inputs$}  {}", fitted(&row.inputs, inputs), fitted(&row.outputs, outputs));
    writeln!(out, "{left}  {state}  {}", right.trim_end())
}

fn cut(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Cuts what [`tensors`] wrote: where not even the size is left of it, the size stands alone.
fn cut_group(text: &str, room: usize) -> String {
    let mut parts = text.splitn(3, GROUP_GAP);
    let (Some(count), Some(bytes)) = (parts.next(), parts.next()) else { return cut(text, room) };
    let is_room = count.len() + GROUP_GAP.len() + bytes.len() < room;
    if is_room { cut(text, room) } else { cut(bytes, room) }
}

/// Cuts a name in its middle: the method at its end tells more than the rest of its class.
fn cut_middle(text: &str, room: usize) -> String {
    let len = text.chars().count();
    if len <= room {
        return text.to_owned();
    }
    let tail = room / 2;
    let end: String = text.chars().skip(len - tail).collect();
    format!("{}{end}", cut(text, room - tail))
}

fn host(call: &DumpedCall) -> Option<&str> {
    call.process.origin.as_ref().map(|(host, _)| &**host)
}

fn row(number: usize, call: &DumpedCall, with_host: bool) -> Row {
    let process_id = call.process.process_id.to_string();
    let (inputs, outputs) = split(call);
    Row {
        number: number.to_string(),
        time: units::time_of_day(&call.timestamp),
        process: match host(call) {
            Some(host) if with_host => format!("{process_id}@{}", style::clean(host)),
            Some(_) | None => process_id,
        },
        function: style::clean(call.function.name()),
        state: state_of(call),
        inputs: tensors(&call.inputs, inputs),
        outputs: tensors(&call.outputs, outputs),
    }
}

/// Descriptions of tensors by their keys.
type Details<'a> = &'a [(String, TensorMeta)];

/// Splits the described tensors into arguments and results; the arguments come first.
fn split(call: &DumpedCall) -> (Details<'_>, Details<'_>) {
    call.tensor_details.split_at(call.inputs.tensors.min(call.tensor_details.len()))
}

/// Between the count, the size and the shapes of a group.
const GROUP_GAP: &str = "  ";

/// Writes a group in a few words: `2 tensors  24 KiB  float16 [4, 64], [64]`. A dtype stands until the next.
fn tensors(summary: &GroupSummary, details: Details<'_>) -> String {
    if summary.tensors == 0 {
        return "-".to_owned();
    }
    let count = units::counted(summary.tensors, "tensor");
    let mut text = format!("{count}{GROUP_GAP}{}", units::bytes(summary.bytes));
    let mut dtype = "";
    for (place, (_, meta)) in details.iter().enumerate() {
        text.push_str(if place == 0 { GROUP_GAP } else { ", " });
        if meta.dtype != dtype {
            dtype = &meta.dtype;
            text.push_str(&style::clean(dtype.trim_start_matches("torch.")));
            text.push(' ');
        }
        text.push_str(&units::shape(&meta.shape));
    }
    text
}

/// Says what became of a call, which flush its tensors are of, and whether they can be believed.
fn state_of(call: &DumpedCall) -> String {
    let mut state = state_text(&call.state).to_owned();
    if let Some(flush) = call.flush {
        state.push_str(&format!(", flush {flush}"));
    }
    if call.is_unstable {
        state.push_str(", unstable");
    }
    state
}

fn state_text(state: &CallState) -> &'static str {
    match state {
        CallState::Completed => "completed",
        CallState::InputsSaved => "CRASHED?",
        CallState::OutputsUnconfirmed => "unconfirmed",
        CallState::Failed => "failed",
        CallState::OutputsSkipped => "outputs skipped",
        CallState::GraphPending => "graph pending",
        CallState::GraphCaptured => "graph captured",
        CallState::NotStarted => "empty",
        CallState::Damaged { .. } => "damaged",
    }
}

/// Ends with what the eye should fall on.
fn print_summary(out: &mut dyn Write, calls: &[Numbered<'_>]) -> io::Result<()> {
    let completed = calls.iter().filter(|(_, call)| call.state == CallState::Completed).count();
    let bytes = calls.iter().map(|(_, call)| call.inputs.bytes.saturating_add(call.outputs.bytes));
    let bytes = bytes.fold(0, u64::saturating_add);
    let suspects: Vec<_> =
        calls.iter().filter(|(_, call)| call.state.is_suspected_crash()).map(|(number, _)| *number).collect();
    let mut others = BTreeMap::new();
    for (_, call) in calls {
        if call.state != CallState::Completed && !call.state.is_suspected_crash() {
            *others.entry(state_text(&call.state)).or_insert(0) += 1;
        }
    }
    write!(out, "{}, {} completed", units::counted(calls.len(), "call"), units::count(completed))?;
    if let Some(last) = suspects.last() {
        let text = match suspects.len() {
            1 => format!("1 suspected crash (#{last})"),
            n => format!("{} suspected crashes (last #{last})", units::count(n)),
        };
        write!(out, ", {}", style::paint(style::red().bold(), &text))?;
    }
    for (state, calls) in others {
        write!(out, ", {} {state}", units::count(calls))?;
    }
    let unstable = calls.iter().filter(|(_, call)| call.is_unstable).count();
    if unstable > 0 {
        write!(out, ", {} unstable", units::count(unstable))?;
    }
    writeln!(out, ". {}.", units::bytes(bytes))
}

/// What to type next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Show(usize),
    Verify,
    Replay,
}

impl Next {
    fn on(&self, dir: &str) -> String {
        match self {
            Next::Show(number) => format!("show {dir} {number}"),
            Next::Verify => format!("verify {dir}"),
            Next::Replay => format!("replay --dir {dir}"),
        }
    }
}

/// Proposes to look at the last call that may have crashed, or else at what is damaged, or to replay what this program
/// has functions for; where it has none, the first call can be looked at.
fn next_command(calls: &[Numbered<'_>], executor: &dyn Executor) -> Option<Next> {
    let suspect = calls.iter().rfind(|(_, call)| call.state.is_suspected_crash());
    let is_damaged = calls.iter().any(|(_, call)| call.state.damage().is_some());
    let is_known = |(_, call): &Numbered<'_>| executor.contract(&call.function).is_some();
    match (suspect, calls.first()?) {
        (Some((number, _)), _) => Some(Next::Show(*number)),
        (None, _) if is_damaged => Some(Next::Verify),
        (None, _) if calls.iter().any(is_known) => Some(Next::Replay),
        (None, (first, _)) => Some(Next::Show(*first)),
    }
}

#[derive(Serialize)]
struct ListJson<'a> {
    calls: Vec<ListedJson<'a>>,
    findings: Vec<FindingJson<'a>>,
}

#[derive(Serialize)]
struct ListedJson<'a> {
    #[serde(flatten)]
    call: CallJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    inputs: GroupJson<'a>,
    outputs: GroupJson<'a>,
}

fn print_json(out: &mut dyn Write, opened: &Opened, calls: &[Numbered<'_>]) -> io::Result<()> {
    let calls = calls
        .iter()
        .map(|&(number, call)| {
            let (inputs, outputs) = split(call);
            ListedJson {
                call: CallJson::new(number, call),
                reason: call.state.damage(),
                inputs: group_json(&call.inputs, inputs),
                outputs: group_json(&call.outputs, outputs),
            }
        })
        .collect();
    json::print(out, &ListJson { calls, findings: json::findings(&opened.session.findings) })
}

fn group_json<'a>(summary: &GroupSummary, details: Details<'a>) -> GroupJson<'a> {
    let tensors = details.iter().map(|(key, meta)| DescribedJson::new(key, meta)).collect();
    GroupJson { bytes: summary.bytes, tensors }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(dtype: &str, shape: &[usize]) -> (String, TensorMeta) {
        let meta = TensorMeta {
            shape: shape.to_vec(),
            strides: Vec::new(),
            dtype: format!("torch.{dtype}"),
            device: "cpu".to_owned(),
        };
        (String::new(), meta)
    }

    #[test]
    fn a_group_is_told_in_a_few_words() {
        let details = [meta("float16", &[4, 64]), meta("float16", &[64]), meta("int32", &[])];
        let summary = GroupSummary { tensors: 3, bytes: 24_576 };
        assert_eq!(tensors(&summary, &details), "3 tensors  24 KiB  float16 [4, 64], [64], int32 []");
        assert_eq!(tensors(&GroupSummary::default(), &[]), "-");
    }

    fn check_fit(terminal: usize) {
        let row = Row {
            number: "17".to_owned(),
            time: "19:11:00.458".to_owned(),
            process: "12345".to_owned(),
            function: "BatchDecodeWithPagedKVCacheWrapper.__init__".to_owned(),
            state: "CRASHED?".to_owned(),
            inputs: "3 tensors  1 KiB  float32 [4, 64], int32 [4], [4]".to_owned(),
            outputs: "1 tensor  1 KiB  float32 [4, 64]".to_owned(),
        };
        let columns = Columns::fit(cells(&row).map(|cell| cell.chars().count()), Some(terminal));
        let mut out = anstream::StripStream::new(Vec::new());
        print_row(&mut out, &row, &columns, style::dim()).unwrap();
        let line = String::from_utf8(out.into_inner()).unwrap();
        assert!(line.trim_end().chars().count() <= terminal, "{terminal}: {line}");
        assert!(line.contains("  CRASHED?  "), "{terminal}: {line}");
    }

    #[test]
    fn a_row_fits_the_terminal_with_its_status_whole() {
        (60..220).for_each(check_fit);
    }

    #[test]
    fn a_long_cell_ends_in_an_ellipsis() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut_middle("Wrapper.plan", 10), "Wrap….plan");
    }

    #[test]
    fn of_a_group_the_size_is_told_in_the_least_room() {
        let text = "2 tensors  34 KiB  float16 [4, 64], [64]";
        for (room, cell) in [
            (40, text),
            (22, "2 tensors  34 KiB  fl…"),
            (18, "2 tensors  34 KiB…"),
            (17, "34 KiB"),
            (6, "34 KiB"),
            (4, "34 …"),
        ] {
            assert_eq!(cut_group(text, room), cell, "{room}");
        }
        assert_eq!(cut_group("-", 1), "-");
    }
}
