//! The simulated disk, as the file seam of `callbox-sink-fs` sees it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callbox_sink_fs::files::{FileFacts, Files, OpenFile, OpenFolder, Opening};
use rustix::io::Errno;

use super::script::{Act, Failure, Script, error};
use super::tree::{Content, Effect, Kept, Node, Tree};

/// A simulated disk. Clones are the same disk, seen by other processes.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<World>>);

#[derive(Debug, Default)]
struct World {
    tree: Tree,
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

    fn effect(&mut self, effect: Effect) {
        self.tree.apply(&effect, Kept::Whole);
        self.effects.push(effect);
    }

    fn make(&mut self, at: Node, name: &str, is_folder: bool) -> io::Result<Node> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG.into());
        }
        if self.tree.names(at).contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        let node = self.tree.nodes.len();
        self.effect(Effect::Made { at, name: name.to_owned(), node, is_folder });
        Ok(node)
    }

    fn named(&mut self, at: Node, name: &str) -> io::Result<Node> {
        self.tree.names(at).get(name).copied().ok_or_else(|| Errno::NOENT.into())
    }

    fn remove(&mut self, at: Node, name: &str) -> io::Result<()> {
        let node = self.named(at, name)?;
        if matches!(&self.tree.nodes[node], Content::Folder(names) if !names.is_empty()) {
            return Err(Errno::NOTEMPTY.into());
        }
        self.removed.insert(node);
        self.effect(Effect::Removed { at, name: name.to_owned() });
        Ok(())
    }
}

impl SimDisk {
    /// A disk on which there is something already, all of it synced.
    pub fn of(tree: Tree) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(World { tree, ..World::default() })))
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
        let node = world.named(self.node, name)?;
        Ok(Box::new(SimFolder { disk: self.disk.clone(), node }))
    }

    fn open_file(&self, name: &str, how: Opening) -> io::Result<Box<dyn OpenFile>> {
        let mut world = self.disk.world();
        world.step(Act::OpenFile)?;
        let node = match (how, world.named(self.node, name)) {
            (Opening::Lines, Ok(node)) => node,
            (Opening::New | Opening::NewLines | Opening::Lines, _) => world.make(self.node, name, false)?,
        };
        world.openings += 1;
        let (appends, opening) = (how != Opening::New, world.openings);
        Ok(Box::new(SimFile { disk: self.disk.clone(), node, appends, opening, at: Mutex::new(0) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Rename)?;
        let node = world.named(self.node, from)?;
        if let Ok(replaced) = world.named(self.node, to) {
            world.removed.insert(replaced);
        }
        world.effect(Effect::Renamed { at: self.node, from: from.to_owned(), to: to.to_owned(), node });
        Ok(())
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Remove)?;
        world.remove(self.node, name)
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Remove)?;
        world.remove(self.node, name)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::SyncFolder)?;
        world.effect(Effect::Synced(self.node));
        Ok(())
    }

    fn is_removed(&self) -> io::Result<bool> {
        let mut world = self.disk.world();
        world.step(Act::Look)?;
        Ok(world.removed.contains(&self.node))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.world().step(Act::Look)?;
        Ok(1 << 40)
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
        let len = match world.failure(Act::Write) {
            None => bytes.len(),
            Some(Failure::ShortWrite { at_once: true }) => bytes.len().min(1),
            Some(Failure::ShortWrite { at_once: false }) => bytes.len() / 2,
            Some(failure) => return Err(error(failure)),
        };
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = if self.appends { world.tree.bytes(self.node).len() } else { *at };
        *at = offset + len;
        world.effect(Effect::Written { node: self.node, offset, bytes: bytes[..len].to_vec() });
        Ok(len)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut world = self.disk.world();
        world.step(Act::Read)?;
        let file = world.tree.bytes(self.node);
        let rest = usize::try_from(offset).ok().and_then(|offset| file.get(offset..)).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn facts(&self) -> io::Result<FileFacts> {
        let mut world = self.disk.world();
        world.step(Act::Look)?;
        let bytes = world.tree.bytes(self.node).len() as u64;
        Ok(FileFacts { bytes, is_regular: true, is_removed: world.removed.contains(&self.node) })
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step(Act::Cut)?;
        let len = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        world.effect(Effect::Cut { node: self.node, len });
        Ok(())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        self.disk.world().step(Act::Allocate)
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
        let mut world = self.disk.world();
        world.step(Act::SyncFile)?;
        world.effect(Effect::Synced(self.node));
        Ok(())
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
