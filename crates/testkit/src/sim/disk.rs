//! The simulated disk, as the file seam of `callbox-sink-fs` sees it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callbox_sink_fs::files::{FileFacts, Files, OpenFile, OpenFolder, Opening};
use rustix::io::Errno;

use super::script::{Act, Failure, Script, error};
use super::tree::{Effect, Kept, Node, Tree};

/// What is free on a disk of which nothing else is said.
const FREE_BYTES: u64 = 1 << 40;
/// The longest name that it takes, in bytes.
const LONGEST_NAME: usize = 255;

/// A simulated disk. Clones are the same disk, seen by other processes.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Mutex<World>>);

/// Empty.
impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::of(Tree::default())
    }
}

#[derive(Debug)]
struct World {
    tree: Tree,
    free_bytes: u64,
    effects: Vec<Effect>,
    operations: Vec<Act>,
    script: Option<Script>,
    failures: usize,
    removed: HashSet<Node>,
    /// Who has the lock of a file: the number of an opening.
    locks: HashMap<Node, usize>,
    openings: usize,
}

impl World {
    /// Counts an operation and lets it fail if it is due.
    fn step(&mut self, act: Act) -> io::Result<()> {
        match self.failure(act) {
            None => Ok(()),
            Some(failure) => Err(error(failure)),
        }
    }

    fn failure(&mut self, act: Act) -> Option<Failure> {
        let number = self.operations.len();
        self.operations.push(act);
        let failure = self.script.as_ref()?.failure(number, act)?;
        self.failures += 1;
        Some(failure)
    }

    /// Counts a write; returns how many bytes there is room for.
    fn room_for(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.failure(Act::Write) {
            None => Ok(bytes.len()),
            Some(Failure::ShortWrite { at_once: true }) => Ok(bytes.len().min(1)),
            Some(Failure::ShortWrite { at_once: false }) => Ok(bytes.len() / 2),
            Some(failure) => Err(error(failure)),
        }
    }

    /// Counts a sync and does it. One that fails keeps nothing, and what it was to keep is not kept by a later one,
    /// unless a signal came before anything was done.
    fn sync(&mut self, node: Node, act: Act) -> io::Result<()> {
        match self.step(act) {
            Ok(()) => self.effect(Effect::Synced(node)),
            Err(error) => {
                if error.kind() != io::ErrorKind::Interrupted {
                    self.effect(Effect::SyncFailed(node));
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn effect(&mut self, effect: Effect) {
        self.tree.apply(&effect, Kept::Whole);
        self.effects.push(effect);
    }

    fn make(&mut self, at: Node, name: &str, is_folder: bool) -> io::Result<Node> {
        if name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG.into());
        }
        if self.tree.names_of(at).contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        if self.removed.contains(&at) {
            return Err(Errno::NOENT.into());
        }
        let node = self.tree.nodes.len();
        self.effect(Effect::Made { at, name: name.to_owned(), node, is_folder });
        Ok(node)
    }

    fn named(&self, at: Node, name: &str) -> io::Result<Node> {
        if name.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG.into());
        }
        self.tree.names_of(at).get(name).copied().ok_or_else(|| Errno::NOENT.into())
    }

    fn folder(&self, node: Node) -> io::Result<Node> {
        if self.tree.is_folder(node) { Ok(node) } else { Err(Errno::NOTDIR.into()) }
    }

    fn file(&self, node: Node) -> io::Result<Node> {
        if self.tree.is_folder(node) { Err(Errno::ISDIR.into()) } else { Ok(node) }
    }

    fn remove(&mut self, at: Node, name: &str) {
        self.removed.extend(self.tree.names_of(at).get(name));
        self.effect(Effect::Removed { at, name: name.to_owned() });
    }
}

impl SimDisk {
    /// A disk on which there is something already, all of it synced.
    pub fn of(tree: Tree) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(World {
            tree,
            free_bytes: FREE_BYTES,
            effects: Vec::new(),
            operations: Vec::new(),
            script: None,
            failures: 0,
            removed: HashSet::new(),
            locks: HashMap::new(),
            openings: 0,
        })))
    }

    /// Says from now on that so many bytes are free. Nothing is counted: writes find room all the same.
    pub fn set_free_bytes(&self, bytes: u64) {
        self.world().free_bytes = bytes;
    }

    /// Lets operations fail from now on, or no more.
    pub fn set_script(&self, script: Option<Script>) {
        self.world().script = script;
    }

    /// Returns every operation so far, those that failed among them.
    pub fn operations(&self) -> Vec<Act> {
        self.world().operations.clone()
    }

    /// Returns how many operations failed as the script says.
    pub fn failures(&self) -> usize {
        self.world().failures
    }

    /// Returns every effect so far.
    pub fn effects(&self) -> Vec<Effect> {
        self.world().effects.clone()
    }

    /// Returns the number of effects so far.
    pub fn effect_count(&self) -> usize {
        self.world().effects.len()
    }

    /// Returns what is on the disk now.
    pub fn tree(&self) -> Tree {
        self.world().tree.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files for SimDisk {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Act::CreateFolder)?;
        let parent = path.parent().ok_or(Errno::EXIST)?;
        let at = world.tree.find(parent).ok_or(Errno::NOENT)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(Errno::INVAL)?;
        world.make(at, name, true).map(|_| ())
    }

    fn open_folder(&self, path: &Path) -> io::Result<Box<dyn OpenFolder>> {
        let mut world = self.world();
        world.step(Act::OpenFolder)?;
        let node = world.tree.find(path).ok_or(Errno::NOENT)?;
        let node = world.folder(node)?;
        Ok(Box::new(SimFolder { disk: self.clone(), node }))
    }
}

#[derive(Debug)]
struct SimFolder {
    disk: SimDisk,
    node: Node,
}

impl OpenFolder for SimFolder {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::CreateFolder)?;
        world.make(self.node, name, true).map(|_| ())
    }

    fn open_folder(&self, name: &str) -> io::Result<Box<dyn OpenFolder>> {
        let mut world = self.disk.world();
        world.step(Act::OpenFolder)?;
        let node = world.named(self.node, name).and_then(|node| world.folder(node))?;
        Ok(Box::new(SimFolder { disk: self.disk.clone(), node }))
    }

    fn open_file(&self, name: &str, how: Opening) -> io::Result<Box<dyn OpenFile>> {
        let mut world = self.disk.world();
        world.step(Act::OpenFile)?;
        let node = match (how, world.named(self.node, name)) {
            (Opening::Lines | Opening::Places | Opening::Reading, Ok(node)) => world.file(node)?,
            (Opening::Reading, Err(error)) => return Err(error),
            (Opening::New | Opening::NewLines | Opening::Lines | Opening::Places, _) => {
                world.make(self.node, name, false)?
            }
        };
        world.openings += 1;
        let (appends, opening) = (matches!(how, Opening::NewLines | Opening::Lines), world.openings);
        Ok(Box::new(SimFile { disk: self.disk.clone(), node, appends, opening, at: Mutex::new(0) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Rename)?;
        let node = world.named(self.node, from).and_then(|node| world.file(node))?;
        match world.named(self.node, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(replaced) => {
                let replaced = world.file(replaced)?;
                world.removed.insert(replaced);
            }
        }
        world.effect(Effect::Renamed { at: self.node, from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Remove)?;
        world.named(self.node, name).and_then(|node| world.file(node))?;
        world.remove(self.node, name);
        Ok(())
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Remove)?;
        let node = world.named(self.node, name).and_then(|node| world.folder(node))?;
        if !world.tree.names_of(node).is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        world.remove(self.node, name);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.world().sync(self.node, Act::SyncFolder)
    }

    fn is_removed(&self) -> io::Result<bool> {
        let mut world = self.disk.world();
        world.step(Act::Look)?;
        Ok(world.removed.contains(&self.node))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let mut world = self.disk.world();
        world.step(Act::Look)?;
        Ok(world.free_bytes)
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    node: Node,
    appends: bool,
    /// Its number among all openings: who it is that has a lock.
    opening: usize,
    /// Where the next write goes, unless to the end.
    at: Mutex<usize>,
}

impl OpenFile for SimFile {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.disk.world();
        let len = world.room_for(bytes)?;
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = if self.appends { world.tree.bytes_of(self.node).len() } else { *at };
        *at = offset + len;
        world.effect(Effect::Written { node: self.node, offset, bytes: bytes[..len].to_vec() });
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        let len = world.room_for(bytes)?;
        let offset = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        world.effect(Effect::Written { node: self.node, offset, bytes: bytes[..len].to_vec() });
        Ok(len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        world.step(Act::Read)?;
        let file = world.tree.bytes_of(self.node);
        let rest = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let mut world = self.disk.world();
        world.step(Act::Look)?;
        let bytes = world.tree.bytes_of(self.node).len() as u64;
        Ok(FileFacts { bytes, is_regular: true, is_removed: world.removed.contains(&self.node) })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Cut)?;
        let len = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        world.effect(Effect::Cut { node: self.node, len });
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Allocate)?;
        let len = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        world.effect(Effect::Allocated { node: self.node, len });
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut world = self.disk.world();
        match world.failure(Act::Lock) {
            None => Ok(*world.locks.entry(self.node).or_insert(self.opening) == self.opening),
            Some(Failure::LockHeld) => Ok(false),
            Some(failure) => Err(error(failure)),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        if world.locks.get(&self.node) == Some(&self.opening) {
            world.locks.remove(&self.node);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.world().sync(self.node, Act::SyncFile)
    }

    fn close(self: Box<Self>) -> io::Result<()> {
        self.disk.world().step(Act::Close)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.unlock().ok();
    }
}
