//! Getting at the slice in which a tensor's elements lie.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{RwLockReadGuard, RwLockWriteGuard};

use cudarc::driver::CudaSlice;

use crate::element::Element;
use crate::owner::{Kept, Owner};

/// A slice that nobody replaces or writes through a tensor meanwhile: the argument of a kernel that reads it.
pub struct Slice<'a, T: Element> {
    guard: RwLockReadGuard<'a, Kept>,
    element: PhantomData<T>,
}

/// A slice that nobody else gets at through a tensor meanwhile: the argument of a kernel that writes it.
///
/// Let go of it before a recorded call begins, and before it returns: the recorder waits for this for a second, and then does
/// without the call's tensors.
#[must_use = "it is locked for as long as this is held"]
pub struct SliceMut<'a, T: Element> {
    guard: RwLockWriteGuard<'a, Kept>,
    element: PhantomData<T>,
}

impl<'a, T: Element> Slice<'a, T> {
    /// `None`: the owner is a slice of other elements.
    pub(crate) fn new(guard: RwLockReadGuard<'a, Kept>) -> Option<Slice<'a, T>> {
        let is_of = slice_of::<T>(guard.owner()).is_some();
        is_of.then_some(Slice { guard, element: PhantomData })
    }
}

impl<'a, T: Element> SliceMut<'a, T> {
    /// `None`: the owner is a slice of other elements.
    pub(crate) fn new(guard: RwLockWriteGuard<'a, Kept>) -> Option<SliceMut<'a, T>> {
        let is_of = slice_of::<T>(guard.owner()).is_some();
        is_of.then_some(SliceMut { guard, element: PhantomData })
    }
}

fn slice_of<T: Element>(owner: &dyn Owner) -> Option<&CudaSlice<T>> {
    (owner as &dyn Any).downcast_ref()
}

const CHECKED: &str = "the owner's elements were looked at when it was locked";

impl<T: Element> Deref for Slice<'_, T> {
    type Target = CudaSlice<T>;

    fn deref(&self) -> &CudaSlice<T> {
        slice_of(self.guard.owner()).expect(CHECKED)
    }
}

impl<T: Element> Deref for SliceMut<'_, T> {
    type Target = CudaSlice<T>;

    fn deref(&self) -> &CudaSlice<T> {
        slice_of(self.guard.owner()).expect(CHECKED)
    }
}

impl<T: Element> DerefMut for SliceMut<'_, T> {
    fn deref_mut(&mut self) -> &mut CudaSlice<T> {
        let owner: &mut dyn Any = self.guard.owner_mut();
        owner.downcast_mut().expect(CHECKED)
    }
}

/// Shows what it is of and how long, not what it holds.
impl<T: Element> fmt::Debug for Slice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements of {}", self.len(), T::DTYPE)
    }
}

/// Shows what it is of and how long, not what it holds.
impl<T: Element> fmt::Debug for SliceMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} elements of {}", self.len(), T::DTYPE)
    }
}
