//! The tensors of one file: on their way to disk, and as they come back.

use std::collections::HashMap;

use crate::dtype::DType;
use crate::tensor::{TensorBuf, TensorView};

/// The tensors of one file on their way to disk, in recording order.
#[derive(Clone, Debug)]
pub struct TensorGroup<'a> {
    /// File name without its extension: `inputs` or `outputs`.
    pub stem: &'a str,
    /// Key and tensor, in recording order.
    pub tensors: Vec<(&'a str, TensorView<'a>)>,
}

impl TensorGroup<'_> {
    /// Tells whether a tensor's bytes may change while they are written.
    pub fn may_change(&self) -> bool {
        self.tensors.iter().any(|(_, tensor)| tensor.storage.bytes.may_change())
    }
}

/// One tensor of a file: its elements, or why there are none.
#[derive(Clone, Debug)]
pub enum LoadedTensor {
    /// The tensor with its elements.
    Whole(TensorBuf),
    /// A tensor that was recorded without elements, or in a form that has none to hand out (`meta`, sparse).
    WithoutElements {
        /// Element type.
        dtype: DType,
        /// Sizes in elements.
        shape: Vec<usize>,
        /// Why there are no elements.
        reason: String,
    },
}

/// The tensors of one file, in the file's order.
#[derive(Clone, Debug, Default)]
pub struct TensorMap {
    entries: Vec<(String, LoadedTensor)>,
    places: HashMap<String, usize>,
    unchecked: Vec<String>,
}

impl TensorMap {
    /// Appends a tensor; a key that is there already keeps its place and takes the new tensor.
    pub fn insert(&mut self, key: String, tensor: LoadedTensor) {
        match self.places.get(&key) {
            Some(&place) => self.entries[place].1 = tensor,
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, tensor));
            }
        }
    }

    /// Finds a tensor by its key.
    pub fn get(&self, key: &str) -> Option<&LoadedTensor> {
        self.places.get(key).map(|&place| &self.entries[place].1)
    }

    /// Notes a part of the file whose checksum its writer left out.
    pub fn note_unchecked(&mut self, part: String) {
        self.unchecked.push(part);
    }

    /// Returns the parts of the file whose checksums were left out, in a format that has them: damage to these
    /// parts goes unseen.
    pub fn unchecked(&self) -> &[String] {
        &self.unchecked
    }

    /// Iterates over keys and tensors in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LoadedTensor)> {
        self.entries.iter().map(|(key, tensor)| (key.as_str(), tensor))
    }

    /// Returns the number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
