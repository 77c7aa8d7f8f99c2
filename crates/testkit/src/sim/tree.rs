//! What is on a simulated disk, and what changes it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// Number of a file or folder; the root's is 0.
pub type Node = usize;

/// One change of what is on the disk, or a promise that earlier ones stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A new folder or file gets its name.
    Made {
        /// The folder that the name is in.
        at: Node,
        /// The name.
        name: String,
        /// What has it.
        node: Node,
        /// It is a folder.
        is_folder: bool,
    },
    /// Bytes are written.
    Written {
        /// The file.
        node: Node,
        /// Where.
        offset: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// A file is cut.
    Cut {
        /// The file.
        node: Node,
        /// To how many bytes.
        len: usize,
    },
    /// A file gets another name.
    Renamed {
        /// The folder that both names are in.
        at: Node,
        /// The old name.
        from: String,
        /// The new one.
        to: String,
        /// The file.
        node: Node,
    },
    /// A name is gone.
    Removed {
        /// The folder that it was in.
        at: Node,
        /// The name.
        name: String,
    },
    /// A file's content, or a folder's names, survive a loss of power from here on.
    Synced(Node),
}

/// What a crash leaves of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// Nothing.
    Lost,
    /// The first bytes of what was written.
    First(usize),
    /// The size of what was written, and zeros.
    Zeros,
}

/// Files and folders.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tree {
    pub(super) nodes: Vec<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Content {
    Folder(BTreeMap<String, Node>),
    File(Vec<u8>),
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Content::Folder(BTreeMap::new())] }
    }
}

impl Tree {
    /// Applies what is kept of an effect. Effects before it may have been lost: what has no place is dropped.
    pub fn apply(&mut self, effect: &Effect, kept: Kept) {
        match effect {
            Effect::Made { at, name, node, is_folder } => {
                // Without its name it is there for later effects, and nobody sees it.
                let empty =
                    if *is_folder { Content::Folder(BTreeMap::new()) } else { Content::File(Vec::new()) };
                assert_eq!(self.nodes.len(), *node, "nodes are numbered as they are made");
                self.nodes.push(empty);
                if kept != Kept::Lost {
                    self.names(*at).insert(name.clone(), *node);
                }
            }
            Effect::Written { node, offset, bytes } => self.write(*node, *offset, bytes, kept),
            Effect::Cut { node, len } if kept != Kept::Lost => self.bytes(*node).truncate(*len),
            Effect::Renamed { at, from, to, node } if kept != Kept::Lost => {
                self.names(*at).remove(from);
                self.names(*at).insert(to.clone(), *node);
            }
            Effect::Removed { at, name } if kept != Kept::Lost => {
                self.names(*at).remove(name);
            }
            Effect::Cut { .. } | Effect::Renamed { .. } | Effect::Removed { .. } | Effect::Synced(_) => {}
        }
    }

    fn write(&mut self, node: Node, offset: usize, bytes: &[u8], kept: Kept) {
        let (len, zeros) = match kept {
            Kept::Whole => (bytes.len(), false),
            Kept::Lost => (0, false),
            Kept::First(len) => (len.min(bytes.len()), false),
            Kept::Zeros => (bytes.len(), true),
        };
        if len == 0 {
            return;
        }
        let file = self.bytes(node);
        // Where an earlier write was lost there is a hole.
        file.resize(file.len().max(offset + len), 0);
        if !zeros {
            file[offset..offset + len].copy_from_slice(&bytes[..len]);
        }
    }

    /// Writes everything that has a name into a folder of the real file system.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        self.write_node(0, folder)
    }

    fn write_node(&self, node: Node, path: &Path) -> io::Result<()> {
        match &self.nodes[node] {
            Content::File(bytes) => fs::write(path, bytes),
            Content::Folder(names) => {
                if !path.is_dir() {
                    fs::create_dir(path)?;
                }
                names.iter().try_for_each(|(name, node)| self.write_node(*node, &path.join(name)))
            }
        }
    }

    /// Finds what a path leads to.
    pub(super) fn find(&self, path: &Path) -> Option<Node> {
        let names = path.iter().filter_map(|name| name.to_str()).filter(|name| *name != "/");
        names.into_iter().try_fold(0, |at, name| match &self.nodes[at] {
            Content::Folder(names) => names.get(name).copied(),
            Content::File(_) => None,
        })
    }

    /// Lists every file that has a name, with its path.
    pub fn files(&self) -> Vec<(String, &[u8])> {
        let mut files = Vec::new();
        self.list(0, "", &mut files);
        files
    }

    fn list<'a>(&'a self, node: Node, path: &str, files: &mut Vec<(String, &'a [u8])>) {
        match &self.nodes[node] {
            Content::File(bytes) => files.push((path.to_owned(), bytes)),
            Content::Folder(names) => {
                names.iter().for_each(|(name, node)| self.list(*node, &format!("{path}/{name}"), files));
            }
        }
    }

    pub(super) fn names(&mut self, node: Node) -> &mut BTreeMap<String, Node> {
        match &mut self.nodes[node] {
            Content::Folder(names) => names,
            Content::File(_) => panic!("node {node} is a file"),
        }
    }

    pub(super) fn bytes(&mut self, node: Node) -> &mut Vec<u8> {
        match &mut self.nodes[node] {
            Content::File(bytes) => bytes,
            Content::Folder(_) => panic!("node {node} is a folder"),
        }
    }
}
