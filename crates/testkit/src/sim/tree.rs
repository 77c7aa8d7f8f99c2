//! What is on a simulated disk, and what changes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

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
    /// Space is reserved: the file has this size at least, and zeros where nothing was written.
    Allocated {
        /// The file.
        node: Node,
        /// The size.
        len: usize,
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
    /// A sync failed: what it was to keep may be lost, and no later sync keeps it. That is how Linux does it: the
    /// pages count as clean.
    SyncFailed(Node),
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
    /// The size of what was written, and zeros in this part of it: size and content come to the disk by ways of
    /// their own, content block by block.
    Zeroed {
        /// First byte that is lost.
        from: usize,
        /// The byte behind the last one.
        to: usize,
    },
}

/// Files and folders. Clones share what they have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    pub(super) nodes: Vec<Content>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Folder(Arc<BTreeMap<String, Node>>),
    File(Arc<Vec<u8>>),
}

impl Content {
    fn empty(is_folder: bool) -> Content {
        if is_folder { Content::Folder(Arc::default()) } else { Content::File(Arc::default()) }
    }
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Content::empty(true)] }
    }
}

impl Tree {
    /// Applies what is kept of an effect. Effects before it may have been lost: what has no place is dropped.
    pub fn apply(&mut self, effect: &Effect, kept: Kept) {
        match effect {
            Effect::Made { at, name, node, is_folder } => {
                // Without its name it is there for later effects, and nobody sees it.
                assert_eq!(self.nodes.len(), *node, "nodes are numbered as they are made");
                self.nodes.push(Content::empty(*is_folder));
                if kept != Kept::Lost {
                    self.names(*at).insert(name.clone(), *node);
                }
            }
            Effect::Written { node, offset, bytes } => self.write(*node, *offset, bytes, kept),
            Effect::Allocated { node, len } if kept != Kept::Lost => {
                let file = self.bytes(*node);
                file.resize(file.len().max(*len), 0);
            }
            Effect::Cut { node, len } if kept != Kept::Lost => self.bytes(*node).truncate(*len),
            Effect::Renamed { at, from, to, node } if kept != Kept::Lost => {
                self.names(*at).remove(from);
                self.names(*at).insert(to.clone(), *node);
            }
            Effect::Removed { at, name } if kept != Kept::Lost => {
                self.names(*at).remove(name);
            }
            Effect::Allocated { .. }
            | Effect::Cut { .. }
            | Effect::Renamed { .. }
            | Effect::Removed { .. }
            | Effect::Synced(_)
            | Effect::SyncFailed(_) => {}
        }
    }

    fn write(&mut self, node: Node, offset: usize, bytes: &[u8], kept: Kept) {
        let len = match kept {
            Kept::Whole | Kept::Zeroed { .. } => bytes.len(),
            Kept::Lost => 0,
            Kept::First(len) => len.min(bytes.len()),
        };
        if len == 0 {
            return;
        }
        let file = self.bytes(node);
        // Where an earlier write was lost there is a hole.
        file.resize(file.len().max(offset + len), 0);
        let written = &mut file[offset..offset + len];
        match kept {
            Kept::Zeroed { from, to } => {
                let to = to.min(len);
                written[..from.min(to)].copy_from_slice(&bytes[..from.min(to)]);
                written[to..].copy_from_slice(&bytes[to..]);
            }
            Kept::Whole | Kept::Lost | Kept::First(_) => written.copy_from_slice(&bytes[..len]),
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

    /// Lists everything that has a name, by its path without a slash before it; a folder, which has no bytes, before
    /// what is in it.
    pub fn entries(&self) -> Vec<(String, Option<Arc<Vec<u8>>>)> {
        let mut entries = Vec::new();
        self.list(0, "", &mut entries);
        entries
    }

    fn list(&self, node: Node, path: &str, entries: &mut Vec<(String, Option<Arc<Vec<u8>>>)>) {
        let Content::Folder(names) = &self.nodes[node] else { return };
        for (name, node) in &**names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let bytes = match &self.nodes[*node] {
                Content::File(bytes) => Some(bytes.clone()),
                Content::Folder(_) => None,
            };
            entries.push((path.clone(), bytes));
            self.list(*node, &path, entries);
        }
    }

    pub(super) fn is_folder(&self, node: Node) -> bool {
        matches!(self.nodes[node], Content::Folder(_))
    }

    pub(super) fn names(&mut self, node: Node) -> &mut BTreeMap<String, Node> {
        match &mut self.nodes[node] {
            Content::Folder(names) => Arc::make_mut(names),
            Content::File(_) => panic!("node {node} is a file"),
        }
    }

    pub(super) fn bytes(&mut self, node: Node) -> &mut Vec<u8> {
        match &mut self.nodes[node] {
            Content::File(bytes) => Arc::make_mut(bytes),
            Content::Folder(_) => panic!("node {node} is a folder"),
        }
    }

    pub(super) fn names_of(&self, node: Node) -> &BTreeMap<String, Node> {
        match &self.nodes[node] {
            Content::Folder(names) => names,
            Content::File(_) => panic!("node {node} is a file"),
        }
    }

    pub(super) fn bytes_of(&self, node: Node) -> &[u8] {
        match &self.nodes[node] {
            Content::File(bytes) => bytes,
            Content::Folder(_) => panic!("node {node} is a folder"),
        }
    }
}
