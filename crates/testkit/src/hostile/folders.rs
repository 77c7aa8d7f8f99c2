//! Sessions in which something is no regular file, or not where it should be.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use super::records::{FOLDER, inputs, line};

/// One hostile session.
#[derive(Clone, Copy, Debug)]
pub struct FolderCase {
    /// What is wrong with it, as a name: `inputs_fifo`.
    pub name: &'static str,
    /// Makes it in an empty folder.
    pub build: fn(&Path),
    /// Where it shows; what is said there.
    pub shows: Place,
    /// What is said there; nothing in it makes the case one that is read.
    pub says: &'static str,
}

/// Where something that is wrong with a session shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Opening it fails.
    Open,
    /// A remark stands beside the list of calls.
    List,
    /// The state of the call in the list.
    State,
    /// Reading the call's own record fails.
    Record,
    /// Loading the call's inputs fails.
    Inputs,
    /// Nowhere: the inputs are loaded.
    Nowhere,
}

const SESSION: &str = "session.jsonl";

const LINK: &str = "symbolic links are not followed";
const NOT_A_FILE: &str = "not a regular file";

const fn case(name: &'static str, shows: Place, says: &'static str, build: fn(&Path)) -> FolderCase {
    FolderCase { name, build, shows, says }
}

/// Lists every hostile session. `callbox` reads none of what they lead to.
pub fn folders() -> Vec<FolderCase> {
    use Place::{Inputs, List, Nowhere, Open, Record, State};
    vec![
        case("honest", Nowhere, "", honest),
        case("session_link_outside", List, LINK, |at| put(at, SESSION, |path| link("/etc/passwd", path))),
        case("session_link_inside", List, LINK, |at| {
            put(at, SESSION, |path| link(&format!("{FOLDER}/metadata.jsonl"), path));
        }),
        case("session_link_loop", List, LINK, |at| put(at, SESSION, |path| link(SESSION, path))),
        case("session_fifo", List, NOT_A_FILE, |at| put(at, SESSION, fifo)),
        case("session_socket", List, NOT_A_FILE, |at| put(at, SESSION, socket)),
        case("session_folder", List, NOT_A_FILE, |at| put(at, SESSION, folder)),
        case("session_device", List, LINK, |at| put(at, SESSION, |path| link("/dev/zero", path))),
        case("session_empty", Nowhere, "", |at| put(at, SESSION, |path| write(path, b""))),
        case("session_zeros", List, "line 1", |at| put(at, SESSION, |path| write(path, &[0; 4096]))),
        case("session_line_of_1_gb", List, "1 GiB; a line may have 16 MiB", |at| {
            put(at, SESSION, |path| sparse(path, 1 << 30));
        }),
        case("session_hard_link", Nowhere, "", |at| {
            honest(at);
            let path = at.join(SESSION);
            done(fs::hard_link(&path, at.join("other")), &path);
        }),
        case("session_dump_dir_up", List, "which names no folder", |at| {
            put(at, SESSION, |path| write(path, with_dump_dir("..").as_bytes()));
        }),
        case("session_dump_dir_too_long", List, "which names no folder", |at| {
            put(at, SESSION, |path| write(path, with_dump_dir(&"x".repeat(300)).as_bytes()));
        }),
        case("session_dump_dir_nul", List, "which names no folder", |at| {
            put(at, SESSION, |path| write(path, with_dump_dir("a\\u0000").as_bytes()));
        }),
        case("session_dump_dir_etc", State, "the folder is missing", |at| {
            put(at, SESSION, |path| write(path, with_dump_dir("/etc").as_bytes()));
            done(fs::remove_dir_all(at.join(FOLDER)), at);
        }),
        case("call_link_outside", State, "symbolic link", |at| put(at, FOLDER, |path| link("/etc", path))),
        case("call_link_inside", State, "symbolic link", |at| put(at, FOLDER, |path| link(".", path))),
        case("call_link_loop", State, "symbolic link", |at| put(at, FOLDER, |path| link(FOLDER, path))),
        case("call_fifo", State, "it is not a folder", |at| put(at, FOLDER, fifo)),
        case("call_file", State, "it is not a folder", |at| put(at, FOLDER, |path| write(path, b"x"))),
        case("call_empty", State, "its folder is empty", |at| put(at, FOLDER, folder)),
        case("metadata_link_outside", Record, LINK, |at| {
            in_call(at, METADATA, |path| link("/etc/passwd", path))
        }),
        case("metadata_link_inside", Record, LINK, |at| {
            in_call(at, METADATA, |path| link("../session.jsonl", path));
        }),
        case("metadata_link_loop", Record, LINK, |at| in_call(at, METADATA, |path| link(METADATA, path))),
        case("metadata_fifo", Record, NOT_A_FILE, |at| in_call(at, METADATA, fifo)),
        case("metadata_socket", Record, NOT_A_FILE, |at| in_call(at, METADATA, socket)),
        case("metadata_folder", Record, NOT_A_FILE, |at| in_call(at, METADATA, folder)),
        case("metadata_device", Record, LINK, |at| in_call(at, METADATA, |path| link("/dev/zero", path))),
        case("metadata_empty", Record, "the file has no lines", |at| {
            in_call(at, METADATA, |path| write(path, b""))
        }),
        case("metadata_missing", Record, "the file is missing", |at| in_call(at, METADATA, |_| ())),
        case("metadata_line_of_1_gb", Record, "1 GiB; a line may have 16 MiB", |at| {
            in_call(at, METADATA, |path| sparse(path, 1 << 30));
        }),
        case("metadata_hard_link", Nowhere, "", |at| {
            honest(at);
            let path = at.join(FOLDER).join(METADATA);
            done(fs::hard_link(&path, at.join("other")), &path);
        }),
        case("inputs_link_outside", Inputs, LINK, |at| in_call(at, INPUTS, |path| link("/etc/passwd", path))),
        case("inputs_link_inside", Inputs, LINK, |at| in_call(at, INPUTS, |path| link(METADATA, path))),
        case("inputs_link_loop", Inputs, LINK, |at| in_call(at, INPUTS, |path| link(INPUTS, path))),
        case("inputs_fifo", Inputs, NOT_A_FILE, |at| in_call(at, INPUTS, fifo)),
        case("inputs_socket", Inputs, NOT_A_FILE, |at| in_call(at, INPUTS, socket)),
        case("inputs_folder", Inputs, NOT_A_FILE, |at| in_call(at, INPUTS, folder)),
        case("inputs_device", Inputs, LINK, |at| in_call(at, INPUTS, |path| link("/dev/zero", path))),
        case("inputs_empty", Inputs, "the file is empty", |at| in_call(at, INPUTS, |path| write(path, b""))),
        case("inputs_of_a_terabyte", Inputs, "not a torch.save file", |at| {
            in_call(at, INPUTS, |path| sparse(path, 1 << 40));
        }),
        case("inputs_missing", State, "their file is missing", |at| in_call(at, INPUTS, |_| ())),
        case("inputs_hard_link", Nowhere, "", |at| {
            honest(at);
            let path = at.join(FOLDER).join(INPUTS);
            done(fs::hard_link(&path, at.join("other")), &path);
        }),
        case("inputs_in_two_formats", Nowhere, "", |at| {
            honest(at);
            write(&at.join(FOLDER).join("inputs.safetensors"), b"x");
        }),
        case("inputs_in_the_other_format", Inputs, "a header of", |at| {
            in_call(at, INPUTS, |_| ());
            write(&at.join(FOLDER).join("inputs.safetensors"), &[9; 9]);
        }),
        case("inputs_unreadable", Inputs, "failed to read", |at| {
            in_call(at, INPUTS, |path| {
                write(path, &inputs());
                done(fs::set_permissions(path, fs::Permissions::from_mode(0o000)), path);
            });
        }),
        case("no_session", Open, "neither a session nor a call", |_| ()),
        case("no_session_but_a_link", Open, "neither a session nor a call", |at| {
            link("/etc", &at.join("etc"))
        }),
    ]
}

const METADATA: &str = "metadata.jsonl";
const INPUTS: &str = "inputs.pt";

/// A session of one call in which nothing is wrong.
fn honest(at: &Path) {
    write(&at.join(SESSION), line("inputs_saved").as_bytes());
    folder(&at.join(FOLDER));
    write(&at.join(FOLDER).join(METADATA), line("inputs_saved").as_bytes());
    write(&at.join(FOLDER).join(INPUTS), &inputs());
}

fn with_dump_dir(dump_dir: &str) -> String {
    line("inputs_saved").replace(&format!("dumps/{FOLDER}"), dump_dir)
}

/// An honest session with something else under one name.
fn put(at: &Path, name: &str, make: impl FnOnce(&Path)) {
    honest(at);
    let path = at.join(name);
    if path.is_dir() {
        done(fs::remove_dir_all(&path), &path);
    } else {
        done(fs::remove_file(&path), &path);
    }
    make(&path);
}

fn in_call(at: &Path, name: &str, make: impl FnOnce(&Path)) {
    put(at, &format!("{FOLDER}/{name}"), make);
}

fn write(path: &Path, content: &[u8]) {
    done(fs::write(path, content), path);
}

fn folder(path: &Path) {
    done(fs::create_dir(path), path);
}

fn link(target: &str, path: &Path) {
    done(symlink(target, path), path);
}

fn fifo(path: &Path) {
    done(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).map_err(Into::into), path);
}

fn socket(path: &Path) {
    done(UnixListener::bind(path).map(drop), path);
}

/// A file of zeros that takes no room on the disk.
fn sparse(path: &Path, bytes: u64) {
    done(File::create(path).and_then(|file| file.set_len(bytes)), path);
}

fn done(result: std::io::Result<()>, path: &Path) {
    if let Err(error) = result {
        panic!("failed to make {}: {error}", path.display());
    }
}
