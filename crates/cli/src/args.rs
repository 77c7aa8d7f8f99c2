//! The command line.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callbox_core::Device;
use clap::{Args, Parser, Subcommand, ValueEnum};

const EXIT_CODES: &str = "\
Exit codes:
  0  nothing speaks against what was recorded
  1  a call, a file or a conversion is not as it should be
  2  the command line is wrong
  3  the folder cannot be read as a session or a call, or the output not be written
  4  there was nothing to judge by
  5  the device is not available

`callbox replay --help`, `verify --help` and `convert --help` say what these mean there.";

/// A flight recorder for tensor calls: list, show, replay, verify and convert what FlashInfer or callbox recorded.
///
/// Nothing in a recorded session is ever executed: functions are looked up by name among those built into
/// this program.
#[derive(Debug, Parser)]
#[command(name = "callbox", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run recorded calls again and compare their results.
    Replay(ReplayArgs),
    /// List the calls of a session, one line each.
    List(ListArgs),
    /// Show one call: arguments, results, and where a replay differs.
    Show(ShowArgs),
    /// Rewrite a session with its tensors in another format, and read back what was written.
    Convert(ConvertArgs),
    /// Say of every file whether it is the one that was written, and where it is damaged.
    Verify(VerifyArgs),
    /// Run calls that a replay asks for: a replay starts this itself.
    #[command(name = WORKER, hide = true)]
    Worker(WorkerArgs),
}

/// Name of the hidden command that a replay starts to run calls in another process.
pub(crate) const WORKER: &str = "__worker";

const REPLAY_EXAMPLES: &str = "\
Examples:
  callbox replay --dir ./dumps
  callbox replay --dir ./dumps --only '*decode*' --skip '*.plan'
  FLASHINFER_LOGLEVEL=1 callbox replay --dir ./dumps     # details behind each verdict
  callbox replay --dir ./golden --strict --json > report.json
  callbox replay --dir ./dumps --isolate --timeout 60 --memory 8
  callbox replay --dir ./dumps --isolate --timeout 60 --memory 8 --resume    # after Ctrl-C

A call that ends its process is told so: crashed (SIGSEGV), timed out after 60 s, out of memory.

Exit codes:
  0  at least one call passed, and none mismatched, failed or was damaged
  1  a call with a recorded result mismatched, failed or ended its process, or a call was damaged
     (with --strict: any call that did not pass)
  2  the command line is wrong
  3  the folder cannot be read as a session or a call, or the output not be written
  4  no call passed
  5  the device is not available";

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// Session folder (it holds session.jsonl), or the folder of one call.
    #[arg(long, value_name = "DIR", required_unless_present = "folder", conflicts_with = "folder")]
    dir: Option<PathBuf>,

    /// The same without `--dir`.
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,

    /// Where to run: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(crate) device: Device,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    #[command(flatten)]
    pub(crate) compare: CompareArgs,

    /// Exit with 1 if any call did not pass, whatever the reason.
    #[arg(long)]
    pub(crate) strict: bool,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,

    /// Calls to replay at a time; calls on one object stay in order. Default: the number of processors; 1 on CUDA.
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) jobs: Option<NonZeroUsize>,

    #[command(flatten)]
    pub(crate) isolate: IsolateArgs,

    #[command(flatten)]
    pub(crate) journal: JournalArgs,

    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

impl ReplayArgs {
    /// Returns the folder to replay.
    pub(crate) fn dir(&self) -> &Path {
        let dir = self.dir.as_ref().or(self.folder.as_ref());
        dir.expect("clap requires one of the two")
    }
}

/// Which calls.
#[derive(Debug, Args)]
pub(crate) struct SelectArgs {
    /// Take only calls whose function matches one of these patterns: `*decode*,mm_fp8`.
    ///
    /// Patterns are those of FLASHINFER_DUMP_INCLUDE: `*`, `?` and `[..]`, case-sensitive, separated by
    /// commas, tried on `function`, `ClassName.method` and the same behind its module's last part. What a
    /// selected method needs (its object's constructor and plan) is run for it without being reported.
    #[arg(long, value_name = "PATTERNS", default_value = "", hide_default_value = true)]
    pub(crate) only: String,

    /// Leave out calls whose function matches one of these patterns.
    #[arg(long, value_name = "PATTERNS", default_value = "", hide_default_value = true)]
    pub(crate) skip: String,
}

/// How to compare.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Relative tolerance for every float, in place of the defaults by dtype.
    #[arg(long, value_name = "R", value_parser = tolerance, allow_negative_numbers = true)]
    pub(crate) rtol: Option<f64>,

    /// Absolute tolerance for every float, in place of the defaults by dtype and size of the values.
    #[arg(long, value_name = "A", value_parser = tolerance, allow_negative_numbers = true)]
    pub(crate) atol: Option<f64>,

    /// Use FlashInfer's own tolerances: rtol 1e-3 and atol 1e-3 throughout.
    #[arg(long, conflicts_with_all = ["rtol", "atol"])]
    pub(crate) parity: bool,

    /// Count NaN against NaN as a difference.
    #[arg(long)]
    pub(crate) nan_differs: bool,
}

/// Which calls run in processes of their own, and what these may take.
#[derive(Debug, Args)]
pub(crate) struct IsolateArgs {
    /// Run each call in a process of its own, the calls on one object in one together.
    ///
    /// A crash, a hang or running out of memory is the verdict of its call, and the next one goes on: in a new
    /// process, in which the earlier calls on its object are run again. Suspected crashes are always run so.
    /// --timeout and --memory ask for it too.
    #[arg(long)]
    pub(crate) isolate: bool,

    /// Run every call in this process, suspected crashes too: for a debugger.
    #[arg(long, conflicts_with_all = ["isolate", "timeout", "memory"])]
    pub(crate) no_isolate: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

impl IsolateArgs {
    /// Tells whether every call is to run in a process of its own.
    pub(crate) fn isolates_all(&self) -> bool {
        self.isolate || self.limits.timeout.is_some() || self.limits.memory.is_some()
    }
}

/// What a process may take in which a call runs.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// Longest that a call in a process of its own may take; 0: no limit. Default: 300.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,

    /// Most memory that such a process may hold, in GiB. Default: no limit but the system's.
    #[arg(long, value_name = "GB", value_parser = gibibytes, allow_negative_numbers = true)]
    pub(crate) memory: Option<u64>,
}

impl LimitArgs {
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.unwrap_or(Duration::from_secs(300))
    }
}

/// How an interrupted replay goes on.
#[derive(Debug, Args)]
pub(crate) struct JournalArgs {
    /// Go on where an interrupted replay with the same options stopped; the report is the same as without the
    /// interruption.
    #[arg(long)]
    pub(crate) resume: bool,

    /// Keep the verdicts in this file, and leave it there.
    ///
    /// Without it they are kept below ~/.local/state (XDG_STATE_HOME) until the replay has ended: the session's
    /// folder is only read.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

/// What a replay tells its workers on their command line.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Folder of the session.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Where to run.
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub(crate) device: Device,

    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

/// How to read files.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Map files into memory instead of reading them.
    ///
    /// Faster for large files. A file that another program shortens meanwhile kills this process (SIGBUS):
    /// use it for folders that nothing else writes.
    #[arg(long)]
    pub(crate) mmap: bool,
}

const LIST_EXAMPLES: &str = "\
Examples:
  callbox list ./dumps
  callbox list ./dumps --only '*Wrapper.run'
  callbox list ./dumps --json | jq '.calls[] | select(.state != \"completed\")'";

#[derive(Debug, Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(crate) struct ListArgs {
    /// Session folder, or the folder of one call.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  callbox show ./dumps 22
  callbox show ./dumps/20251204_143216_802_pid12345_mm_fp4_call0018
  callbox show ./dumps 22 --json --hash | jq -r '.outputs[].sha256'";

#[derive(Debug, Args)]
#[command(after_help = SHOW_EXAMPLES)]
pub(crate) struct ShowArgs {
    /// Folder of one call, or a session folder with a number.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Number of the call in its session, as `list` prints it.
    #[arg(value_name = "NUMBER", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) number: Option<NonZeroUsize>,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the sha256 of each tensor's elements (row-major, little endian), to compare dumps from a shell.
    #[arg(long)]
    pub(crate) hash: bool,

    /// Do not run the call: show only what is on disk.
    #[arg(long)]
    pub(crate) no_replay: bool,

    /// Where to run it: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", value_name = "DEVICE", conflicts_with = "no_replay")]
    pub(crate) device: Device,

    /// Run the call in this process and not in one of its own: for a debugger.
    #[arg(long, conflicts_with_all = ["no_replay", "timeout", "memory"])]
    pub(crate) no_isolate: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(flatten)]
    pub(crate) compare: CompareArgs,

    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

const CONVERT_EXAMPLES: &str = "\
Examples:
  callbox convert ./dumps --to safetensors --out ./dumps_safetensors
  callbox convert ./dumps/20251204_143216_802_pid12345_mm_fp4_call0018 --to pt --out ./one_call
  callbox convert ./dumps --to pt --out ./dumps_pt --json | jq '.deviations[]'

Exit codes:
  0  every file is in the new format and was read back equal
  1  something was kept in its own format, damaged or left out, or reads back otherwise: each is listed
  2  the command line is wrong, or the new folder is not empty: nothing was touched
  3  the session cannot be read, or the new one not be written";

#[derive(Debug, Args)]
#[command(after_help = CONVERT_EXAMPLES)]
pub(crate) struct ConvertArgs {
    /// Session folder, or the folder of one call; it is only read.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Format to write: the extension of its files.
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) to: TensorFormat,

    /// Folder of the new session; it is made, or it is empty.
    #[arg(long, value_name = "DIR2")]
    pub(crate) out: PathBuf,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) read: ReadArgs,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  callbox verify ./dumps
  callbox verify ./dumps/20251204_143216_802_pid12345_mm_fp4_call0018
  callbox verify ./dumps --json | jq -r '.damages[] | \"\\(.folder)/\\(.file)\"'

Exit codes:
  0  something was there to check, and nothing is damaged
  1  a file is damaged or missing or cannot be read, or a record is lost: each is listed
  2  the command line is wrong
  3  the folder cannot be read as a session or a call, or the output not be written
  4  there was nothing to check";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// Session folder, or the folder of one call; it is only read.
    ///
    /// Every record is read, and every file of tensors decoded and compared with the size and the hash in its
    /// call's record, with its own checksums, and with the keys, dtypes and shapes of the record. FlashInfer's own
    /// records have no hashes: what cannot be told is counted.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,

    /// Print one JSON object instead of text.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A format that sessions can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TensorFormat {
    /// torch.save's files: strides, offsets and shared storage are kept.
    Pt,
    /// Safetensors files: contiguous copies; records keep the strides.
    Safetensors,
}

fn positive(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number, 1 or more".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "give a number of seconds that is not negative, such as 60 or 0.5".to_owned())
}

fn gibibytes(text: &str) -> Result<u64, String> {
    const GIBIBYTE: f64 = (1u64 << 30) as f64;
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok((value * GIBIBYTE) as u64),
        Ok(_) | Err(_) => Err("give a number of GiB, such as 8 or 0.5".to_owned()),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        Ok(_) | Err(_) => Err("give a number that is not negative, such as 1e-3".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn limits_are_numbers_that_make_sense() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!((gibibytes("0.5"), gibibytes("2")), (Ok(1 << 29), Ok(2 << 30)));
        for text in ["-1", "nan", "inf", "x", ""] {
            assert!(seconds(text).is_err() && gibibytes(text).is_err(), "{text}");
        }
        assert!(gibibytes("0").is_err());
    }

    #[test]
    fn tolerances_are_numbers_that_make_sense() {
        assert_eq!(tolerance("1e-3"), Ok(1e-3));
        for text in ["-1", "nan", "inf", "x", ""] {
            assert!(tolerance(text).is_err(), "{text}");
        }
    }
}
