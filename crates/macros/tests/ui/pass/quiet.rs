//! An annotated program has no warning that the plain one would not have.

#![deny(warnings, unused, nonstandard_style, rust_2018_idioms, missing_docs, unused_qualifications)]
#![deny(unused_results, unused_lifetimes, single_use_lifetimes, trivial_casts, let_underscore_drop)]
#![forbid(unsafe_code)]

use std::sync::Arc;

use callbox::{ObjectId, ToValue, record};

/// A block.
#[derive(Debug)]
pub struct Block<T> {
    id: ObjectId,
    weight: T,
}

/// One literal.
#[record]
pub fn seven(_x: u32) -> u32 { 7 }

/// A pattern.
#[record]
pub fn sum((x, y): (u32, u32)) -> u32 { x + y }

/// Methods.
#[record(id = id, module = "engine.block")]
impl<T: ToValue + Copy> Block<T> {
    /// Makes a block.
    #[must_use]
    pub fn new(weight: T) -> Self {
        Self { id: ObjectId::of::<Self>(), weight }
    }

    /// Returns the weight.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> T {
        self.weight
    }

    /// Replaces the weight.
    pub fn replace(&mut self, mut weight: T, previous: &mut Option<T>) -> Result<(), String> {
        std::mem::swap(&mut self.weight, &mut weight);
        if previous.is_some() {
            return Err("there is one".to_owned());
        }
        *previous = Some(weight);
        Ok(())
    }

    /// Shares the block.
    #[record(skip_result)]
    #[must_use]
    pub fn share(self) -> Arc<Self> {
        Arc::new(self)
    }
}

/// Returns the longer one.
#[record(kwargs(right))]
#[must_use]
pub fn longer<'a>(left: &'a str, right: &'a str) -> &'a str {
    if left.len() > right.len() {
        return left;
    }
    right
}

fn main() {
    let mut block = Block::new(1);
    let mut previous = None;
    block.replace(2, &mut previous).expect("there is none");
    assert_eq!((block.share().weight(), previous, longer("a", "bc")), (2, Some(1), "bc"));
}
