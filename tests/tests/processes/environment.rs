//! Bad values in the environment: the application starts, is warned once, and does what it does.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use rustix::fs::{CWD, Mode, mkfifoat};

const UNHARMED: &str = env!("CARGO_BIN_EXE_unharmed");

/// What holds in place of a bad value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    /// The default, which the warning names.
    Default,
    /// Standard error, where the log goes instead.
    StandardError,
    /// Nothing: what is written there is lost, and that is told when the recorder is gone.
    Loss,
}

use self::Instead::{Default, Loss, StandardError};

/// A variable without its prefix, and a value that will not do. `@` stands for the test's folder.
type Row = (&'static str, &'static [u8], Instead);

/// Longer than a path may be.
const LONG: &[u8] = &[b'n'; 5000];

#[rustfmt::skip]
const ROWS: [Row; 78] = [
    ("LOGLEVEL", b"abc", Default),
    ("LOGLEVEL", b"3.0", Default),
    ("LOGLEVEL", b"-1", Default),
    ("LOGLEVEL", b"nan", Default),
    ("LOGLEVEL", b"1e1", Default),
    ("LOGLEVEL", b"0x3", Default),
    ("LOGLEVEL", b"10 levels", Default),
    ("LOGLEVEL", b"ten", Default),
    ("LOGLEVEL", b"+", Default),
    ("LOGLEVEL", b"1_", Default),
    ("LOGLEVEL", b"\xff\xfe", Default),
    ("LOGLEVEL", "\u{661}\u{660}".as_bytes(), Default),
    ("LOGLEVEL", b"10;5", Default),
    ("DUMP_MAX_SIZE_GB", b"abc", Default),
    ("DUMP_MAX_SIZE_GB", b"20GB", Default),
    ("DUMP_MAX_SIZE_GB", b"nan", Default),
    ("DUMP_MAX_SIZE_GB", b"-nan", Default),
    ("DUMP_MAX_SIZE_GB", b"-1", Default),
    ("DUMP_MAX_SIZE_GB", b"-inf", Default),
    ("DUMP_MAX_SIZE_GB", b"-1e-300", Default),
    ("DUMP_MAX_SIZE_GB", b"1,5", Default),
    ("DUMP_MAX_SIZE_GB", b"0x10", Default),
    ("DUMP_MAX_SIZE_GB", b"1e", Default),
    ("DUMP_MAX_SIZE_GB", b"1 000", Default),
    ("DUMP_MAX_SIZE_GB", b"\xc3\x28", Default),
    ("DUMP_MAX_COUNT", b"abc", Default),
    ("DUMP_MAX_COUNT", b"1e3", Default),
    ("DUMP_MAX_COUNT", b"-1", Default),
    ("DUMP_MAX_COUNT", b"2.5", Default),
    ("DUMP_MAX_COUNT", b"inf", Default),
    ("DUMP_MAX_COUNT", b"1000 calls", Default),
    ("DUMP_MAX_COUNT", b"1,000", Default),
    ("DUMP_MAX_COUNT", b"None", Default),
    ("DUMP_MAX_COUNT", b"\x80", Default),
    ("DUMP_LIMIT_SCOPE", b"host", Default),
    ("DUMP_LIMIT_SCOPE", b"Session", Default),
    ("DUMP_LIMIT_SCOPE", b"\xff", Default),
    ("DUMP_HASH", b"md5", Default),
    ("DUMP_HASH", b"XXH3", Default),
    ("DUMP_HASH", b"\xff", Default),
    ("DUMP_SAFETENSORS", b"yes", Default),
    ("DUMP_SAFETENSORS", b"2", Default),
    ("DUMP_SAFETENSORS", b"true", Default),
    ("DUMP_SAFETENSORS", b"-1", Default),
    ("DUMP_SAFETENSORS", b"01", Default),
    ("DUMP_SAFETENSORS", b"\xff", Default),
    ("DUMP_DURABILITY", b"fsync", Default),
    ("DUMP_DURABILITY", b"SYSTEM", Default),
    ("DUMP_DURABILITY", b"1", Default),
    ("DUMP_DURABILITY", b"process,system", Default),
    ("DUMP_DURABILITY", b"\xff", Default),
    ("DUMP_MIN_FREE_GB", b"1 GB", Default),
    ("DUMP_MIN_FREE_GB", b"nan", Default),
    ("DUMP_MIN_FREE_GB", b"-1", Default),
    ("DUMP_ON_FAILURE", b"retry", Default),
    ("DUMP_ON_FAILURE", b"Stop", Default),
    ("DUMP_ON_FAILURE", b"\xff", Default),
    ("DUMP_INCLUDE", b"\xff*", Default),
    ("DUMP_EXCLUDE", b"*\xed\xa0\x80", Default),
    ("LOGDEST", b"@", StandardError),
    ("LOGDEST", b"@/", StandardError),
    ("LOGDEST", b"@/file/calls.log", StandardError),
    ("LOGDEST", b"@/fifo", StandardError),
    ("LOGDEST", b"@/loop", StandardError),
    ("LOGDEST", b"@/loop/calls.log", StandardError),
    ("LOGDEST", b"/proc/no/calls.log", StandardError),
    ("LOGDEST", b"/dev/null/calls.log", StandardError),
    ("LOGDEST", LONG, StandardError),
    ("LOGDEST", b"/proc/\xff/calls.log", StandardError),
    ("LOGDEST", b"/dev/full", Loss),
    ("DUMP_DIR", b"@/file", Loss),
    ("DUMP_DIR", b"@/file/dumps", Loss),
    ("DUMP_DIR", b"@/fifo", Loss),
    ("DUMP_DIR", b"@/loop", Loss),
    ("DUMP_DIR", b"/dev/null/dumps", Loss),
    ("DUMP_DIR", b"/proc/no/dumps", Loss),
    ("DUMP_DIR", b"/dev/full", Loss),
    ("DUMP_DIR", LONG, Loss),
];

/// Runs the program in a folder, with one variable besides those that record into the folder.
fn run(folder: &Path, variable: Option<(&str, &[u8])>) -> Output {
    let mut command = Command::new(UNHARMED);
    command
        .current_dir(folder)
        .env("FLASHINFER_LOGLEVEL", "10")
        .env("FLASHINFER_LOGDEST", folder.join("calls.log"))
        .env("FLASHINFER_DUMP_DIR", folder.join("dumps"));
    if let Some((name, value)) = variable {
        command.env(format!("FLASHINFER_{name}"), OsStr::from_bytes(value));
    }
    command.output().unwrap()
}

/// Returns the line of a program's output that begins with a word.
fn line_of<'a>(output: &'a str, word: &str) -> &'a str {
    output.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("no {word} in {output}"))
}

fn check(folder: &Path, without: &str, (variable, value, instead): Row) {
    let what = format!("{variable}={}", value.escape_ascii());
    let place = folder.as_os_str().as_bytes();
    let value = match value.strip_prefix(b"@") {
        Some(rest) => [place, rest].concat(),
        None => value.to_owned(),
    };
    // A variable that is not set is what the default is compared with.
    let expected = String::from_utf8(run(folder, Some((variable, b""))).stdout).unwrap();
    let output = run(folder, Some((variable, &value)));
    assert!(output.status.success(), "{what}: {}", output.status);
    let (text, errors) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert_eq!(line_of(&text, "result"), without, "{what}: the calls do what they do");
    assert!(text.ends_with("signals as before\nthreads 1\npanics 0\n"), "{what}: {text}");
    let warnings: Vec<_> = errors
        .lines()
        .filter(|line| line.starts_with("callbox: ") && !line.contains("level 10 writes the contents"))
        .collect();
    let [warning] = warnings.as_slice() else { panic!("{what}: one warning, not {warnings:#?}") };
    match instead {
        Default => {
            assert_eq!(line_of(&text, "config"), line_of(&expected, "config"), "{what}: the default holds");
            assert!(
                warning.contains(&format!("FLASHINFER_{variable}=")) && warning.contains("the default is")
            );
        }
        StandardError => {
            assert!(warning.ends_with("the call log goes to standard error"), "{what}: {warning}")
        }
        Loss => assert!(warning.contains(" calls ") && warning.contains(" failed "), "{what}: {warning}"),
    }
}

#[test]
fn u10_u17_u30_bad_values_cost_one_warning_each_and_the_application_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    symlink("loop", folder.path().join("loop")).unwrap();
    mkfifoat(CWD, folder.path().join("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let off = String::from_utf8(run(folder.path(), Some(("LOGLEVEL", b"0"))).stdout).unwrap();
    let without = line_of(&off, "result");
    ROWS.into_iter().for_each(|row| check(folder.path(), without, row));
    assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"", "what was there is left alone");
}

#[test]
fn p10_results_are_the_same_to_the_bit_at_every_level_and_when_recording_fails() {
    let folder = tempfile::tempdir().unwrap();
    let results = |variable| {
        let output = run(folder.path(), variable);
        line_of(&String::from_utf8(output.stdout).unwrap(), "result").to_owned()
    };
    let off = results(Some(("LOGLEVEL", b"0")));
    assert!(off.len() > 800, "a hundred numbers, a generator's state, an error");
    for level in ["1", "3", "5", "10"] {
        assert_eq!(results(Some(("LOGLEVEL", level.as_bytes()))), off, "level {level}");
    }
    for (variable, value) in [
        ("DUMP_DIR", &b"/dev/null"[..]),
        ("LOGDEST", b"/dev/full"),
        ("DUMP_MAX_SIZE_GB", b"1e-6"),
        ("DUMP_MAX_COUNT", b"1"),
        ("DUMP_SAFETENSORS", b"1"),
        ("DUMP_DURABILITY", b"system"),
    ] {
        assert_eq!(results(Some((variable, value))), off, "{variable}");
    }
}
