//! Opens files below one folder and nowhere else.
//!
//! A dump comes from another machine, so no name in it is trusted: every file is opened relative to the folder
//! that the user gave, no symbolic link is followed on the way, and only regular files are read. A FIFO or a
//! device is refused without waiting for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use callbox_core::{SourceError, planted};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// The folder that the user gave. It may be a symbolic link itself: the user typed it.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

/// One name inside a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `None` where the name is not UTF-8.
    pub name: Option<String>,
    /// What it is.
    pub kind: EntryKind,
}

/// What a name inside a folder is; links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, wherever it leads.
    Link,
    /// A FIFO, a socket, a device.
    Other,
}

impl Root {
    pub(crate) fn open(path: &Path) -> Result<Root, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(folder) => Ok(Root { path: path.to_owned(), folder }),
            Err(Errno::NOENT) => Err(SourceError::NotFound(path.to_owned())),
            Err(Errno::NOTDIR) => Err(SourceError::NotAFolder(path.to_owned())),
            Err(error) => Err(SourceError::Read { path: path.to_owned(), source: error.into() }),
        }
    }

    /// Returns where a name inside the folder lies, for messages.
    pub(crate) fn path_of(&self, relative: &Path) -> PathBuf {
        if relative.as_os_str().is_empty() { self.path.clone() } else { self.path.join(relative) }
    }

    /// Tells whether there is something of that name, whatever it is.
    pub(crate) fn exists(&self, relative: &Path) -> bool {
        rustix::fs::statat(&self.folder, relative, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Opens a regular file; `None` where there is none.
    pub(crate) fn file(&self, relative: &Path) -> Result<Option<File>, SourceError> {
        // O_NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = if planted::bug("open_waits") { OFlags::empty() } else { OFlags::NONBLOCK };
        let Some(file) = self.open_beneath(relative, flags | OFlags::NOCTTY)? else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&file).map_err(|error| self.read_error(relative, error.into()))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Some(File::from(file))),
            other => Err(self.refused(relative, &format!("it is {}, not a regular file", describe(other)))),
        }
    }

    /// Lists a folder, in no particular order; `None` where there is none.
    pub(crate) fn list(&self, relative: &Path) -> Result<Option<Vec<Entry>>, SourceError> {
        let folder = if relative.as_os_str().is_empty() {
            Some(self.folder.as_fd().try_clone_to_owned().map_err(|error| self.read_error(relative, error))?)
        } else {
            self.open_beneath(relative, OFlags::DIRECTORY)?
        };
        let Some(folder) = folder else { return Ok(None) };
        read_folder(&folder).map(Some).map_err(|error| self.read_error(relative, error.into()))
    }

    fn open_beneath(&self, relative: &Path, flags: OFlags) -> Result<Option<OwnedFd>, SourceError> {
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(self.refused(relative, "it leaves the folder"));
        }
        match open_beneath(&self.folder, relative, flags | OFlags::RDONLY | OFlags::CLOEXEC) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::XDEV) => Err(self.refused(relative, "symbolic links are not followed")),
            Err(Errno::NXIO) => Err(self.refused(relative, "it is not a regular file")),
            Err(error) => Err(self.read_error(relative, error.into())),
        }
    }

    /// Builds the error of a file that could not be read.
    pub(crate) fn read_error(&self, relative: &Path, source: io::Error) -> SourceError {
        SourceError::Read { path: self.path_of(relative), source }
    }

    fn refused(&self, relative: &Path, reason: &str) -> SourceError {
        SourceError::UnsafePath { path: self.path_of(relative), reason: reason.to_owned() }
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(folder: &OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;

    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    if planted::bug("links_followed") {
        resolve = ResolveFlags::empty();
    }
    match rustix::fs::openat2(folder, relative, flags, Mode::empty(), resolve) {
        // Kernels before 5.6 do not have the call; some sandboxes forbid it.
        Err(Errno::NOSYS | Errno::PERM) => walk(folder, relative, flags),
        answer => answer,
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(folder: &OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    walk(folder, relative, flags)
}

/// Opens one component after the other, none of them through a symbolic link.
fn walk(folder: &OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut parents: Vec<_> = relative.components().collect();
    let name = parents.pop().ok_or(Errno::NOENT)?;
    let mut at = folder.try_clone().map_err(|_| Errno::MFILE)?;
    for parent in parents {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        at = open_itself(&at, parent.as_os_str().as_ref(), flags)?;
    }
    open_itself(&at, name.as_os_str().as_ref(), flags | OFlags::NOFOLLOW)
}

/// Opens a name that must not be a symbolic link. With `O_DIRECTORY` the kernel calls a link "not a folder".
fn open_itself(folder: &OwnedFd, name: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOTDIR) if is_link(folder, name) => Err(Errno::LOOP),
        answer => answer,
    }
}

fn is_link(folder: &OwnedFd, name: &Path) -> bool {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn read_folder(folder: &OwnedFd) -> Result<Vec<Entry>, Errno> {
    let mut entries = Vec::new();
    // `read_from` opens the folder anew, so that each listing starts at its beginning.
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say in the listing.
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            },
            known => known,
        };
        entries.push(Entry { name: name.to_str().ok().map(str::to_owned), kind: EntryKind::from(kind) });
    }
    Ok(entries)
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> EntryKind {
        match kind {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => EntryKind::Link,
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => EntryKind::Other,
        }
    }
}

fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use rustix::fs::{CWD, RenameFlags, mkfifoat, renameat_with};
    use tempfile::TempDir;

    use super::*;

    /// A folder that holds `call/metadata.jsonl`.
    fn session() -> (TempDir, Root) {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("call")).unwrap();
        fs::write(folder.path().join("call/metadata.jsonl"), "{}").unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    fn check_refused(root: &Root, relative: &str, reason: &str) {
        let error = root.file(Path::new(relative)).unwrap_err();
        assert!(matches!(error, SourceError::UnsafePath { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }

    #[test]
    fn a_regular_file_opens_and_a_missing_one_is_none() {
        let (_folder, root) = session();
        assert!(root.file(Path::new("call/metadata.jsonl")).unwrap().is_some());
        assert!(walk(&root.folder, Path::new("call/metadata.jsonl"), OFlags::RDONLY).is_ok());
        for missing in ["session.jsonl", "no/such/folder"] {
            assert!(root.file(Path::new(missing)).unwrap().is_none(), "{missing}");
        }
        assert!(root.list(Path::new("nothing")).unwrap().is_none());
    }

    #[test]
    fn u59_symbolic_links_are_refused_wherever_they_lead() {
        let (folder, root) = session();
        symlink("call", folder.path().join("inside")).unwrap();
        symlink("/etc", folder.path().join("outside")).unwrap();
        symlink("loop", folder.path().join("loop")).unwrap();
        symlink("call/metadata.jsonl", folder.path().join("file")).unwrap();
        for path in ["inside/metadata.jsonl", "outside/passwd", "loop", "loop/x", "file"] {
            check_refused(&root, path, "symbolic links");
            let walked = walk(&root.folder, Path::new(path), OFlags::RDONLY);
            assert!(matches!(walked, Err(Errno::LOOP)), "{path}");
        }
        for path in ["inside", "outside", "loop"] {
            assert!(matches!(root.list(Path::new(path)), Err(SourceError::UnsafePath { .. })), "{path}");
            let walked = walk(&root.folder, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY);
            assert!(matches!(walked, Err(Errno::LOOP)), "{path}");
        }
    }

    #[test]
    fn what_leaves_the_folder_is_refused() {
        let (_folder, root) = session();
        for path in ["../call", "call/../../x", "/etc/passwd", ".."] {
            check_refused(&root, path, "leaves the folder");
        }
    }

    #[test]
    fn u63_a_fifo_is_refused_without_waiting() {
        let (folder, root) = session();
        mkfifoat(CWD, folder.path().join("fifo"), Mode::RUSR).unwrap();
        let (done, finished) = mpsc::channel();
        thread::spawn(move || {
            check_refused(&root, "fifo", "a FIFO, not a regular file");
            done.send(()).unwrap();
        });
        finished.recv_timeout(Duration::from_secs(5)).expect("it was refused, and nobody waited");
    }

    #[test]
    fn devices_and_folders_are_refused() {
        let (folder, root) = session();
        check_refused(&root, "call", "a folder, not a regular file");
        let devices = Root::open(Path::new("/dev")).unwrap();
        check_refused(&devices, "zero", "a device, not a regular file");
        std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
        check_refused(&root, "socket", "not a regular file");
    }

    /// Swaps two names for ever, until the other end hangs up.
    fn swap(folder: &Path, names: [&str; 2], stop: &mpsc::Receiver<()>) {
        let [one, other] = names.map(|name| folder.join(name));
        while stop.try_recv() == Err(mpsc::TryRecvError::Empty) {
            renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
        }
    }

    #[test]
    fn u59_what_is_replaced_while_it_is_opened_is_refused_or_lies_inside() {
        let (folder, root) = session();
        let outside = TempDir::new().unwrap();
        fs::write(outside.path().join("metadata.jsonl"), "secret").unwrap();
        symlink(outside.path(), folder.path().join("link")).unwrap();
        let (stop, stopped) = mpsc::channel();
        thread::scope(|scope| {
            let folder = folder.path();
            scope.spawn(move || swap(folder, ["call", "link"], &stopped));
            let (mut opened, mut tries) = (0, 0);
            while tries < 2000 || (opened == 0 && tries < 20_000) {
                tries += 1;
                if tries > 2000 {
                    // A busy machine let nobody swap while the others took place.
                    thread::sleep(Duration::from_millis(1));
                }
                match root.file(Path::new("call/metadata.jsonl")) {
                    Ok(Some(file)) => {
                        opened += 1;
                        assert_eq!(io::read_to_string(file).unwrap(), "{}");
                    }
                    Ok(None) | Err(SourceError::UnsafePath { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            drop(stop);
            assert!(opened > 0, "it was never opened");
        });
    }

    #[test]
    fn a_listing_tells_files_folders_and_links_apart() {
        let (folder, root) = session();
        symlink("call", folder.path().join("link")).unwrap();
        fs::write(folder.path().join("session.jsonl"), "").unwrap();
        for _ in 0..2 {
            let mut entries = root.list(Path::new("")).unwrap().unwrap();
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let kinds: Vec<_> = entries.iter().map(|e| (e.name.as_deref().unwrap(), e.kind)).collect();
            assert_eq!(
                kinds,
                [("call", EntryKind::Folder), ("link", EntryKind::Link), ("session.jsonl", EntryKind::File)]
            );
        }
    }

    #[test]
    fn the_folder_itself_may_be_a_link_but_must_be_a_folder() {
        let (folder, _) = session();
        symlink("call", folder.path().join("link")).unwrap();
        assert!(Root::open(&folder.path().join("link")).is_ok());
        let open = |name: &str| Root::open(&folder.path().join(name)).unwrap_err();
        assert!(matches!(open("nothing"), SourceError::NotFound(_)));
        assert!(matches!(open("call/metadata.jsonl"), SourceError::NotAFolder(_)));
    }
}
