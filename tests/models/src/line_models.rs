//! Lines in one file, from threads that share it and from processes that opened it each for itself.

use std::path::Path;
use std::sync::Arc;

use callbox_core::Line;

use crate::disk::Folder;
use crate::durability::Durability;
use crate::files::Files;
use crate::line_file::LineFile;
use crate::model_disk::ModelDisk;

fn open(disk: &ModelDisk, opener: u32) -> Arc<LineFile> {
    let files: Arc<dyn Files> = Arc::new(disk.opened_by(opener));
    let folder = Folder::open_or_create(&files, Path::new("session"), Durability::Process);
    let file = folder.and_then(|folder| folder.open_appended("lines")).expect("the model's disk has it");
    Arc::new(LineFile::new(file, Durability::Process))
}

fn append(lines: &LineFile, name: char, count: usize) {
    for number in 0..count {
        lines
            .append(&Line::new(format!("{name}{number}\n").into_bytes()))
            .expect("the model's disk takes it");
    }
}

/// Lets each writer append lines to a file that begins with `before`. `share` tells whether they are threads of one
/// process. Every line is there once and whole, each writer's in its order, and none is empty.
fn check(before: &'static str, writers: usize, count: usize, share: bool) -> usize {
    crate::orders(move || {
        let disk = ModelDisk::with(before.as_bytes());
        let first = open(&disk, 1);
        let others: Vec<_> = (1..writers)
            .map(|writer| {
                let lines = if share { first.clone() } else { open(&disk, 1 + writer as u32) };
                loom::thread::spawn(move || append(&lines, name_of(writer), count))
            })
            .collect();
        append(&first, name_of(0), count);
        others.into_iter().for_each(|other| other.join().expect("no writer panics"));

        let text = disk.text();
        let mut lines: Vec<_> =
            text.strip_suffix('\n').expect("the last line is whole").split('\n').collect();
        if !before.is_empty() {
            assert_eq!(lines.remove(0), before, "what was torn costs itself alone");
        }
        assert_eq!(lines.len(), writers * count, "{text:?}");
        for writer in 0..writers {
            let mine = lines.iter().filter(|line| line.starts_with(name_of(writer)));
            assert!(
                mine.copied().eq((0..count).map(|number| format!("{}{number}", name_of(writer)))),
                "{text:?}"
            );
        }
    })
}

fn name_of(writer: usize) -> char {
    ['a', 'b', 'c'][writer]
}

/// Two processes append two lines each to a file that begins with a torn one.
pub(crate) fn two_processes_append_behind_a_torn_line() -> usize {
    check("torn", 2, 2, false)
}

/// Two threads append two lines each.
pub(crate) fn two_threads_append() -> usize {
    check("", 2, 2, true)
}

/// Three processes append a line each.
pub(crate) fn three_processes_append() -> usize {
    check("", 3, 1, false)
}
