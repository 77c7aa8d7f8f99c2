//! The limits that processes share, and threads of one process.

use std::path::Path;
use std::sync::Arc;

use crate::disk::Folder;
use crate::durability::Durability;
use crate::files::Files;
use crate::limits::Usage;
use crate::limits_file::LimitsFile;
use crate::model_disk::ModelDisk;
use crate::ports::UsageCounter;

const MOST: Usage = Usage { calls: 2, bytes: 0 };
const ONE: Usage = Usage { calls: 1, bytes: 0 };

fn open(disk: &ModelDisk, opener: u32) -> Arc<LimitsFile> {
    let files: Arc<dyn Files> = Arc::new(disk.opened_by(opener));
    let folder = Folder::open_or_create(&files, Path::new("session"), Durability::Process);
    let file = folder.and_then(|folder| folder.open_places("limits")).expect("the model's disk has it");
    Arc::new(LimitsFile::new(file, Durability::Process))
}

/// Takes two calls if they are there; returns how many it got.
fn take(limits: &LimitsFile) -> u64 {
    let taken = (0..2).filter(|_| limits.take(ONE, MOST).expect("the model's disk takes it").is_some());
    taken.count() as u64
}

/// Two takers of two calls each share a limit of two. `share` tells whether they are threads of one process.
fn check(share: bool) -> usize {
    crate::orders(move || {
        let disk = ModelDisk::with(b"");
        let first = open(&disk, 1);
        let second = if share { first.clone() } else { open(&disk, 2) };
        let other = loom::thread::spawn(move || take(&second));
        let taken = take(&first) + other.join().expect("no taker panics");
        assert_eq!(taken, MOST.calls, "as many as there are, and no more");
    })
}

/// Two processes.
pub(crate) fn two_processes_share_limits() -> usize {
    check(false)
}

/// Two threads of one process.
pub(crate) fn two_threads_share_limits() -> usize {
    check(true)
}
