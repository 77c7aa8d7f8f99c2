//! Calls that end their process, and replays that end before their calls.

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use callbox::core::{Callsite, LiveArguments};
use callbox::{Config, Level, LogDestination, Recorder, Value, tensor_of};
use rustix::process::{Pid, Signal, kill_process};

const CRASHER: &str = env!("CARGO_BIN_EXE_crasher");

/// A session of functions of the crasher, and a folder for journals.
struct Recorded {
    folder: tempfile::TempDir,
    recorder: Recorder,
}

impl Recorded {
    fn new() -> Recorded {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            level: Level::Dumps,
            log_destination: LogDestination::File(folder.path().join("log")),
            dump_dir: folder.path().join("dumps"),
            ..Config::default()
        };
        Recorded { recorder: config.recorder().unwrap(), folder }
    }

    /// Records calls that returned what the function returns where it does not end its process.
    fn functions(names: &[&'static str]) -> Recorded {
        let recorded = Recorded::new();
        names.iter().for_each(|name| recorded.call(name, None, 0, true));
        recorded
    }

    /// Records a call; one that has not returned is a suspected crash. `state` is the sum that the object has.
    fn call(&self, name: &'static str, object: Option<u64>, argument: i64, has_returned: bool) {
        self.call_with(name, object, argument, has_returned.then_some(1.0));
    }

    fn call_with(&self, name: &'static str, object: Option<u64>, argument: i64, result: Option<f32>) {
        let callsite: &'static Callsite = Box::leak(Box::new(Callsite::new("crasher", name, "(x)")));
        let arguments = || {
            let mut positional = vec![Value::int(argument)];
            if object.is_some() {
                positional.insert(0, Value::text("the object"));
            }
            LiveArguments { positional, keyword: Vec::new(), self_id: object }
        };
        let pending = self.recorder.begin(callsite, arguments);
        let Some(result) = result else { return std::mem::forget(pending) };
        let result = [result];
        pending.end(|| {
            let returns_nothing = name.ends_with("__init__") || name.contains(".plan");
            Ok(match object {
                None => Value::int(1),
                Some(_) if returns_nothing => Value::None,
                Some(_) => Value::Tensor(tensor_of(&result, &[1]).unwrap()),
            }
            .into())
        });
    }

    fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(CRASHER);
        command.arg("replay").arg(self.dumps()).args(arguments).env("XDG_STATE_HOME", self.state());
        command.env_remove("FLASHINFER_LOGLEVEL").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        // What tells of a failed allocation then stands before a long backtrace.
        command.env("RUST_BACKTRACE", "full");
        command
    }

    #[track_caller]
    fn replay(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Number, name and verdict of each call, as the text has them.
    fn verdicts(&self, arguments: &[&str]) -> Vec<String> {
        verdicts(&self.replay(arguments))
    }

    /// Returns the processes that run on this session or were started by such.
    fn workers(&self) -> Vec<String> {
        let folder = self.folder.path().to_str().unwrap().to_owned();
        let is_ours = |pid: &str| {
            let read = |what| fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&read("environ")).into_owned();
            environment.contains(&folder)
        };
        let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| is_ours(name)).collect()
    }

    /// Waits until no process of this session is left.
    #[track_caller]
    fn expect_no_process(&self) {
        wait_for("the end of every process", || self.workers().is_empty());
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn verdicts(output: &Output) -> Vec<String> {
    let text = text(&output.stdout);
    let lines = text.lines().filter(|line| line.starts_with('['));
    lines
        .map(|line| {
            let (head, verdict) = line.split_once("): ").unwrap();
            format!("{} {verdict}", head.split(" (").next().unwrap())
        })
        .collect()
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} does not come");
}

#[test]
fn a_call_that_ends_its_process_is_a_verdict_and_the_next_call_goes_on() {
    let recorded = Recorded::functions(&[
        "fine", "segv", "abort", "overflow", "exit", "kill", "noisy", "eat", "gulp", "hang", "fine",
    ]);
    let limits = ["--isolate", "--timeout", "5", "--memory", "0.5"];
    let output = recorded.replay(&limits);
    let expected = [
        "[1] fine ✅ Passed",
        "[2] segv ❌ Error: crashed (SIGSEGV)",
        "[3] abort ❌ Error: crashed (SIGABRT)",
        "[4] overflow ❌ Error: crashed (SIGABRT)",
        "[5] exit ❌ Error: exited with code 0 instead of returning",
        "[6] kill ❌ Error: killed from outside (SIGKILL), probably out of memory",
        "[7] noisy ✅ Passed",
        "[8] eat ❌ Error: out of memory",
        "[9] gulp ❌ Error: out of memory",
        "[10] hang ❌ Error: timed out after 5 s",
        "[11] fine ✅ Passed",
    ];
    assert_eq!(verdicts(&output), expected);
    assert!(text(&output.stdout).ends_with("\nSummary: 3 passed, 8 failed/mismatch\n"));
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    recorded.expect_no_process();

    let json = [&limits[..], &["--json", "--jobs", "1"]].concat();
    let report: serde_json::Value = serde_json::from_slice(&recorded.replay(&json).stdout).unwrap();
    let call = |number: usize| &report["calls"][number - 1];
    assert_eq!(call(2)["verdict"], "died");
    assert_eq!(call(2)["death"], serde_json::json!({"how": "crashed", "signal": "SIGSEGV"}));
    assert_eq!(call(2)["printed"], "about to read");
    assert_eq!(call(5)["death"], serde_json::json!({"how": "exited", "code": 0}));
    assert_eq!(call(8)["death"], serde_json::json!({"how": "out_of_memory"}));
    assert_eq!(call(10)["death"], serde_json::json!({"how": "timed_out", "seconds": 5.0}));
    assert_eq!((&report["summary"]["died"], &report["summary"]["failed"]), (&8.into(), &8.into()));
}

#[test]
fn what_a_call_was_given_is_shown_although_it_ends_its_process_again() {
    let recorded = Recorded::functions(&["segv", "hang"]);
    for (number, died) in [("1", "crashed (SIGSEGV)"), ("2", "timed out after 1 s")] {
        let mut command = Command::new(CRASHER);
        let output =
            command.arg("show").arg(recorded.dumps()).args([number, "--timeout", "1"]).output().unwrap();
        let page = text(&output.stdout);
        assert!(page.contains("arg_0") && page.contains(died), "{page}{}", text(&output.stderr));
    }
    recorded.expect_no_process();
}

#[test]
fn a_replay_that_died_of_a_call_goes_on_past_it_when_it_is_resumed() {
    let recorded = Recorded::functions(&["fine", "segv", "fine"]);
    let died = recorded.replay(&["--jobs", "1"]);
    assert_eq!(died.status.signal(), Some(Signal::SEGV.as_raw()));
    let expected = ["[1] fine ✅ Passed", "[2] segv ❌ Error: crashed (SIGSEGV)", "[3] fine ✅ Passed"];
    assert_eq!(recorded.verdicts(&["--jobs", "1", "--resume"]), expected);
}

#[test]
fn a_limit_asks_for_processes_of_their_own() {
    let recorded = Recorded::functions(&["fine", "hang"]);
    let expected = ["[1] fine ✅ Passed", "[2] hang ❌ Error: timed out after 1 s"];
    assert_eq!(recorded.verdicts(&["--timeout", "1"]), expected);
    let recorded = Recorded::functions(&["segv", "fine"]);
    let expected = ["[1] segv ❌ Error: crashed (SIGSEGV)", "[2] fine ✅ Passed"];
    assert_eq!(recorded.verdicts(&["--memory", "1"]), expected);
}

#[test]
fn a_hang_is_ended_with_what_it_started() {
    let recorded = Recorded::functions(&["breed", "fine"]);
    let verdicts = recorded.verdicts(&["--isolate", "--timeout", "1"]);
    assert_eq!(verdicts, ["[1] breed ❌ Error: timed out after 1 s", "[2] fine ✅ Passed"]);
    recorded.expect_no_process();
}

#[test]
fn a_death_is_charged_to_its_call_and_later_calls_find_the_object_as_it_was_before() {
    let recorded = Recorded::new();
    for (name, argument, sum) in [
        ("Thing.__init__", 0, 0.0),
        ("Thing.plan", 2, 0.0),
        ("Thing.add", 3, 5.0),
        ("Thing.segv", 0, 5.0),
        ("Thing.add", 1, 6.0),
        ("Thing.exit", 0, 6.0),
        ("Thing.fine", 0, 6.0),
    ] {
        recorded.call_with(name, Some(7), argument, Some(sum));
    }
    let verdicts = recorded.verdicts(&["--isolate"]);
    let expected = [
        "[1] Thing.__init__ ✅ Passed",
        "[2] Thing.plan ✅ Passed",
        "[3] Thing.add ✅ Passed",
        "[4] Thing.segv ❌ Error: crashed (SIGSEGV)",
        "[5] Thing.add ✅ Passed",
        "[6] Thing.exit ❌ Error: exited with code 0 instead of returning",
        "[7] Thing.fine ✅ Passed",
    ];
    assert_eq!(verdicts, expected);
    // What the selected calls need is run for them, and nothing else of the object is.
    let selected = recorded.verdicts(&["--isolate", "--only", "*.segv,*.fine"]);
    assert_eq!(selected[0], expected[3]);
}

#[test]
fn what_follows_on_an_object_that_could_not_be_made_or_planned_is_skipped_up_to_the_next_one() {
    let recorded = Recorded::new();
    for name in
        ["Thing.__init__", "Thing.plan_abort", "Thing.fine", "Thing.fine", "Thing.__init__", "Thing.fine"]
    {
        recorded.call_with(name, Some(7), 0, Some(0.0));
    }
    let lost = "➖ Skipped: its object was lost: Thing.plan_abort: crashed (SIGABRT)";
    let expected = [
        "[1] Thing.__init__ ✅ Passed".to_owned(),
        "[2] Thing.plan_abort ❌ Error: crashed (SIGABRT)".to_owned(),
        format!("[3] Thing.fine {lost}"),
        format!("[4] Thing.fine {lost}"),
        "[5] Thing.__init__ ✅ Passed".to_owned(),
        "[6] Thing.fine ✅ Passed".to_owned(),
    ];
    assert_eq!(recorded.verdicts(&["--isolate"]), expected);
    assert_eq!(
        recorded.verdicts(&["--isolate", "--only", "*.fine"]),
        [&expected[2..4], &expected[5..]].concat()
    );
}

#[test]
fn an_object_that_ends_its_process_when_it_is_dropped_is_the_last_call_s_death() {
    let recorded = Recorded::new();
    for name in ["Thing.__init__", "Thing.fine", "Thing.arm"] {
        recorded.call_with(name, Some(7), 0, Some(0.0));
    }
    let verdicts = recorded.verdicts(&["--isolate"]);
    assert_eq!(verdicts[1..], ["[2] Thing.fine ✅ Passed", "[3] Thing.arm ❌ Error: crashed (SIGABRT)"]);
}

#[test]
fn an_object_is_given_up_after_ten_deaths() {
    let recorded = Recorded::new();
    recorded.call_with("Thing.__init__", Some(7), 0, Some(0.0));
    for name in ["Thing.abort"; 12] {
        recorded.call_with(name, Some(7), 0, Some(0.0));
    }
    let verdicts = recorded.verdicts(&["--isolate"]);
    assert_eq!(verdicts[10], "[11] Thing.abort ❌ Error: crashed (SIGABRT)");
    let given_up = "➖ Skipped: its object was lost: 10 of its calls ended their process";
    assert_eq!(
        verdicts[11..],
        [format!("[12] Thing.abort {given_up}"), format!("[13] Thing.abort {given_up}")]
    );
}

#[test]
fn a_suspected_crash_is_isolated_without_being_asked_and_what_it_did_is_told() {
    let recorded = Recorded::functions(&["fine"]);
    recorded.call("segv", None, 0, false);
    recorded.call("fine", None, 0, false);
    let output = recorded.replay(&[]);
    let expected = [
        "[1] fine ✅ Passed",
        "[2] segv ❔ Incomplete (no recorded output): crashed (SIGSEGV)",
        "[3] fine ❔ Incomplete (no recorded output): ran",
    ];
    assert_eq!(verdicts(&output), expected);
    let end = "\nSummary: 1 passed, 0 failed/mismatch\nNeither: 2 incomplete (1 died)\n";
    assert!(text(&output.stdout).ends_with(end), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(0));

    let report: serde_json::Value = serde_json::from_slice(&recorded.replay(&["--json"]).stdout).unwrap();
    assert_eq!(report["calls"][1]["verdict"], "incomplete");
    assert_eq!(report["calls"][1]["death"]["signal"], "SIGSEGV");

    let mut detailed = recorded.command(&[]);
    let detailed = text(&detailed.env("FLASHINFER_LOGLEVEL", "1").output().unwrap().stdout);
    assert!(detailed.contains("\n    printed  about to read\n"), "{detailed}");
    assert!(detailed.contains("\n    returned  1\n"), "{detailed}");

    let here = recorded.replay(&["--no-isolate"]);
    assert_eq!(here.status.signal(), Some(11));
}

#[test]
fn a_suspected_crash_leaves_its_object_to_the_calls_behind_it() {
    let recorded = Recorded::new();
    recorded.call_with("Thing.__init__", Some(7), 0, Some(0.0));
    recorded.call_with("Thing.add", Some(7), 4, Some(4.0));
    recorded.call_with("Thing.segv", Some(7), 0, None);
    recorded.call_with("Thing.add", Some(7), 1, Some(5.0));
    let verdicts = recorded.verdicts(&[]);
    assert_eq!(
        verdicts[2..],
        ["[3] Thing.segv ❔ Incomplete (no recorded output): crashed (SIGSEGV)", "[4] Thing.add ✅ Passed"]
    );
}

#[test]
fn one_call_of_a_session_is_isolated_with_what_its_object_needs() {
    let recorded = Recorded::new();
    recorded.call_with("Thing.__init__", Some(7), 0, Some(0.0));
    recorded.call_with("Thing.plan", Some(7), 4, Some(4.0));
    recorded.call_with("Thing.segv", Some(7), 0, Some(4.0));
    let folders = fs::read_dir(recorded.dumps()).unwrap().map(|entry| entry.unwrap().path());
    let call = folders.into_iter().find(|path| path.to_str().unwrap().contains("Thing.segv")).unwrap();
    let output = Command::new(CRASHER).args(["replay", "--isolate"]).arg(call).output().unwrap();
    assert_eq!(verdicts(&output), ["[1] Thing.segv ❌ Error: crashed (SIGSEGV)"]);
}

/// A session in which something happens all the time: deaths, objects, and pauses to be interrupted in.
fn eventful() -> Recorded {
    let recorded = Recorded::new();
    for round in 0..4u64 {
        for (name, object, argument, result) in [
            ("slow", None, 0, Some(1.0)),
            ("Thing.__init__", Some(round), 0, Some(0.0)),
            ("segv", None, 0, Some(1.0)),
            ("Thing.add", Some(round), 2, Some(2.0)),
            ("Thing.slow", Some(round), 0, Some(2.0)),
            ("Thing.abort", Some(round), 0, Some(2.0)),
            ("segv", None, 0, None),
            ("Thing.add", Some(round), 1, Some(3.0)),
            ("Thing.plan_exit", Some(round), 0, Some(0.0)),
            ("Thing.fine", Some(round), 0, Some(3.0)),
            ("fine", None, 0, None),
        ] {
            recorded.call_with(name, object, argument, result);
        }
    }
    recorded
}

fn journal(recorded: &Recorded) -> PathBuf {
    let mut entries = fs::read_dir(recorded.state().join("callbox/replays")).unwrap();
    entries.next().expect("there is a journal").unwrap().path()
}

/// Starts a replay and waits until the journal has so many lines.
fn started(recorded: &Recorded, arguments: &[&str], lines: usize) -> Child {
    let mut command = recorded.command(arguments);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = recorded.state().join("callbox/replays");
    wait_for("a journal", || {
        let mut entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let text = entries.next().map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        text.is_some_and(|text| text.lines().count() > lines)
    });
    child
}

#[test]
fn a_replay_that_was_killed_goes_on_and_ends_with_the_report_of_one_that_was_not() {
    let recorded = eventful();
    for (jobs, format) in [("1", None), ("4", None), ("2", Some("--json"))] {
        let mut arguments = vec!["--isolate", "--jobs", jobs];
        arguments.extend(format);
        let whole = recorded.replay(&arguments);
        assert!(!recorded.state().join("callbox/replays").read_dir().unwrap().any(|_| true));
        assert!(whole.status.code() == Some(1) && !whole.stdout.is_empty());
        for lines in [1, 9, 20, 33] {
            let mut child = started(&recorded, &arguments, lines);
            child.kill().unwrap();
            child.wait().unwrap();
            let resumed = recorded.replay(&[&arguments[..], &["--resume"]].concat());
            let said = text(&resumed.stderr);
            assert_eq!(
                text(&resumed.stdout),
                text(&whole.stdout),
                "{arguments:?} after {lines} lines: {said}"
            );
            assert_eq!(resumed.status.code(), whole.status.code());
            assert!(
                text(&resumed.stderr).contains("of 44 calls are from the journal"),
                "{:?}",
                resumed.stderr
            );
        }
        recorded.expect_no_process();
    }
}

#[test]
fn wherever_a_journal_ends_the_report_is_the_same() {
    let recorded = eventful();
    let file = recorded.folder.path().join("kept.jsonl");
    let file = file.to_str().unwrap();
    let arguments = ["--isolate", "--only", "Thing.*", "--json", "--journal", file];
    let whole = recorded.replay(&arguments);
    let lines = fs::read_to_string(file).unwrap();
    let lines: Vec<_> = lines.split_inclusive('\n').collect();
    // A header, and a line for each of the seven calls of four objects.
    assert_eq!(lines.len(), 1 + 4 * 7);
    for count in (0..lines.len()).step_by(5) {
        let cut = &lines[count][..lines[count].len() / 2];
        fs::write(file, lines[..count].concat() + cut).unwrap();
        let resumed = recorded.replay(&[&arguments[..], &["--resume"]].concat());
        assert_eq!(text(&resumed.stdout), text(&whole.stdout), "{count} lines");
    }
}

#[test]
fn an_interrupted_replay_says_how_it_goes_on_and_leaves_no_process() {
    let recorded = Recorded::functions(&["fine", "fine", "breed"]);
    let mut child = started(&recorded, &["--isolate", "--jobs", "1"], 2);
    wait_for("the call's own process", || recorded.workers().len() == 3);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    let dumps = recorded.dumps();
    let command = format!("callbox replay {} --isolate --jobs 1 --resume", dumps.display());
    assert_eq!(said, format!("callbox: interrupted after 2 of 3 calls; go on with: {command}\n"));
    recorded.expect_no_process();
    assert!(fs::read_to_string(journal(&recorded)).unwrap().ends_with('\n'));
}

#[test]
fn a_killed_replay_leaves_no_process() {
    let recorded = Recorded::functions(&["fine", "fine", "breed"]);
    let mut child = started(&recorded, &["--isolate", "--jobs", "1"], 2);
    wait_for("the call's own process", || recorded.workers().len() == 3);
    child.kill().unwrap();
    child.wait().unwrap();
    recorded.expect_no_process();
}

#[test]
fn a_journal_is_continued_with_the_same_options_only() {
    let recorded = Recorded::functions(&["fine", "fine"]);
    let file = recorded.folder.path().join("journal");
    let file = ["--journal", file.to_str().unwrap()];
    assert_eq!(recorded.replay(&file).status.code(), Some(0));
    for (more, what) in [
        (&["--atol", "2"][..], "it is without --atol 2"),
        (&["--isolate"], "it is without --isolate"),
        (&["--timeout", "7"], "it has --timeout 300, this one 7"),
    ] {
        let refused = recorded.replay(&[&file[..], &["--resume"], more].concat());
        assert_eq!(refused.status.code(), Some(2));
        let said = text(&refused.stderr);
        assert!(said.starts_with("callbox: error: the journal ") && said.contains(what), "{said}");
    }
    let resumed = recorded.replay(&[&file[..], &["--resume", "--json", "--jobs", "3", "--strict"]].concat());
    assert_eq!(resumed.status.code(), Some(0));
    let other = Recorded::functions(&["fine", "fine"]);
    let refused = other.replay(&[&file[..], &["--resume"]].concat());
    assert!(text(&refused.stderr).contains("its session is "), "{:?}", refused.stderr);
    recorded.call("fine", None, 0, true);
    let refused = recorded.replay(&[&file[..], &["--resume"]].concat());
    assert!(text(&refused.stderr).contains("the session has changed since"), "{:?}", refused.stderr);
}

#[test]
fn a_session_is_only_read_and_a_replay_without_a_place_for_its_journal_goes_on() {
    let recorded = Recorded::functions(&["fine", "segv"]);
    let listing = |folder: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing(&recorded.dumps());
    recorded.replay(&["--isolate"]);
    assert_eq!(listing(&recorded.dumps()), before);
    let nowhere = |arguments: &[&str]| {
        let mut command = recorded.command(arguments);
        command.env("XDG_STATE_HOME", "/dev/null").output().unwrap()
    };
    let output = nowhere(&["--isolate"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let refused = nowhere(&["--isolate", "--resume"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(
        text(&refused.stderr).contains("the journal /dev/null/callbox/replays: "),
        "{:?}",
        refused.stderr
    );
}

#[test]
fn a_worker_that_cannot_start_is_nobody_s_fault() {
    let recorded = Recorded::functions(&["fine"]);
    let output = Command::new(CRASHER).args(["__worker", "/"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a worker is started by a replay"), "{:?}", output.stderr);
    drop(recorded);
}
