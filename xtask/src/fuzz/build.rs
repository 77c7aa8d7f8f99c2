//! Building the targets with instrumentation.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{HANGS_AFTER, RESIDENT_MIB};
use crate::cargo::{cargo, program, root, run};

/// Builds of their own: instrumented code must not come into another one.
const TARGET: &str = "target/fuzz";
/// What the compiler adds so that libFuzzer sees edges and comparisons; the checks of a debug build are on.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "-Coverflow-checks",
];
const SANITIZER: &str = "-Zsanitizer=address";
/// A file system in memory.
const MEMORY_FOLDER: &str = "/dev/shm";

/// The built binary, and the targets that it has.
#[derive(Debug)]
pub(super) struct Fuzzer {
    binary: PathBuf,
    seeds: PathBuf,
    targets: Vec<String>,
    max_lens: Vec<String>,
}

impl Fuzzer {
    /// Checks what the machine has, builds, and writes the seeds.
    pub(super) fn build() -> Result<Fuzzer, String> {
        if !cfg!(target_os = "linux") {
            return Err("fuzzing is set up for Linux".to_owned());
        }
        check_compiler()?;
        let rustc = Rustc::ask()?;
        let mut flags = FLAGS.to_vec();
        if rustc.has_sanitizer() {
            flags.insert(0, SANITIZER);
        } else {
            println!("not run: the address sanitizer: the toolchain in {} has none", rustc.sysroot.display());
        }
        let mut build =
            cargo(&["build", "--quiet", "--release", "--package", "callbox-fuzz", "--bin", "libfuzzer"]);
        build.args(["--features", "libfuzzer", "--target", &rustc.host, "--target-dir", TARGET]);
        // The flags of the sanitizer are not stable yet; nothing that is shipped is built with them.
        build.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
        run(build, "building the fuzz targets")?;
        let built = root().join(TARGET).join(&rustc.host).join("release");
        Fuzzer::with_seeds(built.join("libfuzzer"))
    }

    /// Writes the seeds: an ordinary program does, which tells the targets too.
    fn with_seeds(binary: PathBuf) -> Result<Fuzzer, String> {
        let seeds = root().join(TARGET).join("seeds");
        if seeds.exists() {
            fs::remove_dir_all(&seeds)
                .map_err(|error| format!("failed to empty {}: {error}", seeds.display()))?;
        }
        let output = cargo(&["run", "--quiet", "--package", "callbox-fuzz", "--example", "seeds", "--"])
            .arg(&seeds)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("failed to start cargo: {error}"))?;
        if !output.status.success() {
            return Err(format!("writing the seeds failed: {}", output.status));
        }
        let table = String::from_utf8_lossy(&output.stdout);
        let rows = table.lines().filter_map(|line| line.split_once(' '));
        let (targets, max_lens) = rows.map(|(name, len)| (name.to_owned(), len.to_owned())).unzip();
        let fuzzer = Fuzzer { binary, seeds, targets, max_lens };
        fs::create_dir_all(fuzzer.scratch())
            .map_err(|error| format!("failed to make {}: {error}", fuzzer.scratch().display()))?;
        Ok(fuzzer)
    }

    /// Returns the names of all targets.
    pub(super) fn targets(&self) -> &[String] {
        &self.targets
    }

    /// Returns the folder of a target's seeds.
    pub(super) fn seeds(&self, target: &str) -> PathBuf {
        self.seeds.join(target)
    }

    /// Prepares the binary to try inputs on a target.
    pub(super) fn trying(&self, target: &str) -> Command {
        let mut command = self.command(target);
        let place = self.targets.iter().position(|name| name == target);
        if let Some(max_len) = place.and_then(|place| self.max_lens.get(place)) {
            command.arg(format!("-max_len={max_len}"));
        }
        command
    }

    /// Prepares the binary to run a target within its limits; libFuzzer fails where it is told the longest input and
    /// is to make one small.
    pub(super) fn command(&self, target: &str) -> Command {
        let mut command = program(&self.binary.to_string_lossy());
        command.env("CALLBOX_FUZZ_TARGET", target).env("TMPDIR", self.scratch());
        // Freed memory is kept back to find uses of it; not so much that it looks like the target's own.
        command.env("ASAN_OPTIONS", "quarantine_size_mb=32:detect_leaks=0:allocator_may_return_null=1");
        command.arg(format!("-rss_limit_mb={RESIDENT_MIB}")).arg(format!("-timeout={HANGS_AFTER}"));
        command
    }

    /// Returns the folder for temporary files: in memory, where that is possible.
    fn scratch(&self) -> PathBuf {
        let memory = Path::new(MEMORY_FOLDER);
        let folder = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        folder.join(format!("callbox-fuzz-{}", std::process::id()))
    }
}

/// What a target that died left behind goes too.
impl Drop for Fuzzer {
    fn drop(&mut self) {
        // Whatever stays there is small, and gone with the next start of the machine.
        fs::remove_dir_all(self.scratch()).unwrap_or_default();
    }
}

/// libFuzzer is C++, and is built from source.
#[expect(clippy::disallowed_methods, reason = "the usual variable for the C++ compiler")]
fn check_compiler() -> Result<(), String> {
    let compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let found = Command::new(&compiler).arg("--version").output().is_ok_and(|output| output.status.success());
    if found {
        return Ok(());
    }
    Err(format!(
        "fuzzing needs a C++ compiler, and `{compiler}` does not run: install one (Debian: `apt install g++`), or \
         name it in CXX"
    ))
}

/// The compiler that the workspace names.
#[derive(Debug)]
struct Rustc {
    host: String,
    sysroot: PathBuf,
}

impl Rustc {
    fn ask() -> Result<Rustc, String> {
        let answer = |arguments: &[&str]| {
            let output = program("rustc")
                .args(arguments)
                .output()
                .map_err(|error| format!("failed to start rustc: {error}"))?;
            Ok::<_, String>(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = answer(&["-vV"])?;
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.ok_or("`rustc -vV` does not tell its host")?.to_owned();
        Ok(Rustc { host, sysroot: answer(&["--print", "sysroot"])?.into() })
    }

    /// Tells whether the runtime of the address sanitizer is there: `librustc-CHANNEL_rt.asan.a`.
    fn has_sanitizer(&self) -> bool {
        let libraries = self.sysroot.join("lib/rustlib").join(&self.host).join("lib");
        let mut names =
            fs::read_dir(libraries).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().ends_with("_rt.asan.a"))
    }
}
