//! A disk that fills up, as a limit on the size of files. The limit is the whole process's, so this is a binary of
//! its own with one test.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use callbox_core::error::chain;
use callbox_core::{DumpSink, Line, SlotName};
use callbox_sink_fs::files::{Files, Opening, RealFiles};
use callbox_sink_fs::{Durability, FsSink, Hashing, SinkOptions};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::unused_format::Unused;

mod unused_format;

fn limit_files_to(bytes: Option<u64>) {
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: bytes, ..limit }).unwrap();
}

#[test]
fn u07_a_line_without_room_leaves_no_part_of_itself_and_the_next_one_fits_when_space_returns() {
    let folder = tempfile::tempdir().unwrap();
    let sink = FsSink::new(SinkOptions {
        root: folder.path().join("dumps"),
        format: Arc::new(Unused),
        fallback: None,
        durability: Durability::Process,
        hashing: Hashing::Xxh3,
    });
    let name = SlotName::parse("20260101_000000_000_pid1_f_call0001").unwrap();
    let mut slot = sink.open(&name).unwrap();
    let line = |letter: u8| Line::new([vec![letter; 99], vec![b'\n']].concat());

    let mut append = |letter: u8| [slot.append(&line(letter)), sink.log(&line(letter))];
    for written in append(b'a') {
        assert_eq!(written.unwrap(), 100);
    }
    limit_files_to(Some(150));
    for written in append(b'b') {
        let error = chain(&written.unwrap_err());
        assert!(error.ends_with("there was room for 50 of 100 bytes"), "{error}");
    }
    limit_files_to(None);
    for written in append(b'c') {
        assert_eq!(written.unwrap(), 100);
    }

    let expected = [line(b'a').as_bytes(), line(b'c').as_bytes()].concat();
    let metadata = folder.path().join("dumps").join(name.to_string()).join("metadata.jsonl");
    for file in [folder.path().join("dumps/session.jsonl"), metadata] {
        assert_eq!(fs::read(&file).unwrap(), expected, "{}", file.display());
    }
    check_edges(folder.path());
}

/// What fits to the byte is written, and one byte more is refused before the system is asked: it would send a signal
/// that ends the process.
fn check_edges(folder: &Path) {
    let folder = RealFiles.open_folder(folder).unwrap();
    let new = |name: &str| folder.open_file(name, Opening::New).unwrap();
    let (file, places) = (new("file"), folder.open_file("places", Opening::Places).unwrap());
    let too_large = |answer: io::Result<usize>| answer.unwrap_err().kind() == ErrorKind::FileTooLarge;
    limit_files_to(Some(150));
    assert_eq!(file.write(&[1; 100]).unwrap(), 100);
    assert_eq!(file.write(&[1; 60]).unwrap(), 50, "as much as there is room for");
    assert!(too_large(file.write(&[1])));
    assert_eq!(file.write(&[]).unwrap(), 0);
    assert_eq!(places.write_at(&[1; 20], 130).unwrap(), 20);
    assert!(too_large(places.write_at(&[1; 21], 130)) && too_large(places.write_at(&[1; 40], 130)));
    assert!(new("whole").allocate(150).is_ok());
    assert!(too_large(new("larger").allocate(151).map(|()| 0)));
    limit_files_to(None);
}
