//! A Python environment with the peers, made once and kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{SWITCH, variable};
use crate::cargo::{root, run};

/// Names another place for the environment.
const PLACE: &str = "CALLBOX_INTEROP_VENV";
/// Written into the environment when everything is installed; holds the requirements.
const STAMP: &str = "callbox-interop";

/// A place for the environment, and what belongs into it.
struct Environment {
    place: PathBuf,
    /// In the cache, under a name of our own: it may be emptied.
    is_ours: bool,
    requirements: String,
}

impl Environment {
    fn find() -> Result<Environment, String> {
        let path = requirements_file();
        let requirements =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (place, is_ours) = match variable(PLACE) {
            Some(place) => (PathBuf::from(place), false),
            None => (place_in_cache(cache()?, &requirements), true),
        };
        Ok(Environment { place, is_ours, requirements })
    }

    fn python(&self) -> PathBuf {
        self.place.join("bin/python")
    }

    fn stamp(&self) -> PathBuf {
        self.place.join(STAMP)
    }

    fn is_whole(&self) -> bool {
        let is_installed = fs::read_to_string(self.stamp()).is_ok_and(|stamp| stamp == self.requirements);
        is_installed && starts(&self.python())
    }
}

/// Returns the interpreter of a whole environment, if there is one.
pub(super) fn existing_python() -> Option<PathBuf> {
    Environment::find().ok().filter(Environment::is_whole).map(|environment| environment.python())
}

/// Returns the interpreter of a whole environment; makes one where there is none.
pub(super) fn python() -> Result<PathBuf, String> {
    let environment = Environment::find()?;
    let (python, stamp) = (environment.python(), environment.stamp());
    if environment.is_whole() {
        return Ok(python);
    }
    let Environment { place, is_ours, requirements } = environment;
    if !is_ours {
        refuse_other_folders(&place)?;
    }
    println!("interop: installing torch, safetensors and FlashInfer into {}", place.display());
    println!("interop: this takes two to three minutes and 7 GB, once ({SWITCH}=off leaves it out)");
    create(&place, is_ours)?;
    // Without the stamp until the end: what is interrupted is done again.
    remove_stamp(&stamp)?;
    install(&python, &requirements_file())?;
    fs::write(&stamp, requirements).map_err(|error| format!("{}: {error}", stamp.display()))?;
    println!("interop: installed");
    Ok(python)
}

fn requirements_file() -> PathBuf {
    root().join("interop/requirements.txt")
}

fn create(place: &Path, clear: bool) -> Result<(), String> {
    if !starts(Path::new("python3")) {
        return Err(format!("python3 is not there: install Python 3.10 or newer, or set {SWITCH}=off"));
    }
    let has_venv =
        Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    if !has_venv.is_ok_and(|status| status.success()) {
        return Err(format!(
            "this python3 cannot make virtual environments: install its venv module (python3-venv on Debian), or set {SWITCH}=off"
        ));
    }
    let mut command = Command::new("python3");
    command.args(["-m", "venv"]);
    // A torn environment of the user's own is mended, not emptied.
    if clear {
        command.arg("--clear");
    }
    command.arg(place);
    run(command, "`python3 -m venv`")
}

fn install(python: &Path, requirements: &Path) -> Result<(), String> {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "-r"]);
    command.arg(requirements);
    run(command, "`pip install`").map_err(|error| {
        format!(
            "{error}: see above; without a network set {SWITCH}=off, or {PLACE} to an environment that has the packages"
        )
    })
}

fn starts(python: &Path) -> bool {
    let status = Command::new(python).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn remove_stamp(stamp: &Path) -> Result<(), String> {
    match fs::remove_file(stamp) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", stamp.display()))
        }
        _ => Ok(()),
    }
}

/// Fails if there is something at the place that is no virtual environment.
fn refuse_other_folders(place: &Path) -> Result<(), String> {
    let is_taken = fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some());
    if is_taken && !place.join("pyvenv.cfg").is_file() {
        return Err(format!(
            "{} ({PLACE}) is no virtual environment: name one, or a new folder",
            place.display()
        ));
    }
    Ok(())
}

/// Returns the user's cache folder.
fn cache() -> Result<PathBuf, String> {
    // A relative path there counts as unset.
    let named = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
        .ok_or_else(|| format!("there is no home folder for the Python environment: set {PLACE}"))
}

/// Names the environment after what is in it: other requirements get another one.
fn place_in_cache(cache: PathBuf, requirements: &str) -> PathBuf {
    cache.join("callbox").join(format!("interop-{:016x}", hash(requirements)))
}

/// FNV-1a: the standard library's hash may change with its version.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_requirements_get_another_place() {
        let place = |requirements| place_in_cache(PathBuf::from("cache"), requirements);
        // The test value of the hash's authors for "a".
        assert_eq!(place("a"), Path::new("cache/callbox/interop-af63dc4c8601ec8c"));
        assert_ne!(place("torch==2.15"), place("torch==2.16"));
    }

    #[test]
    fn a_folder_of_something_else_is_refused() {
        assert!(
            refuse_other_folders(&root().join("xtask")).unwrap_err().contains("is no virtual environment")
        );
        refuse_other_folders(&root().join("no such folder")).unwrap();
    }
}
