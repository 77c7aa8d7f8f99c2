//! State that a forked child does not share with its parent.

use std::process;
use std::sync::OnceLock;

/// A `T` for each process that gets here by forking.
///
/// A child finds its parent's state as it was at the moment of the fork: a lock may be held by a thread that the
/// child does not have, and is never given back. So each process uses a state of its own and does not touch those
/// before it. They are kept: a child cannot know what may be dropped. There are as many as there were forks in a row.
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: u32,
    state: T,
    /// That of a child, of which this is a copy in memory.
    next: OnceLock<Box<PerProcess<T>>>,
}

impl<T: Default> PerProcess<T> {
    pub(crate) fn new() -> PerProcess<T> {
        PerProcess::of(process::id())
    }

    /// Returns the present process's state.
    pub(crate) fn get(&self) -> &T {
        self.get_as(process::id())
    }

    fn of(process: u32) -> PerProcess<T> {
        PerProcess { process, state: T::default(), next: OnceLock::new() }
    }

    fn get_as(&self, process: u32) -> &T {
        let mut last = self;
        while let Some(next) = last.next.get() {
            last = next;
        }
        if last.process == process {
            return &last.state;
        }
        // Built beforehand: all that a fork can interrupt is the storing of a pointer.
        let fresh = Box::new(PerProcess::of(process));
        &last.next.get_or_init(|| fresh).state
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_child_has_a_state_of_its_own_whatever_its_parent_holds() {
        let states = PerProcess::<Mutex<u8>>::of(1);
        let held = states.get_as(1).lock().unwrap();
        let child = states.get_as(2);
        *child.try_lock().unwrap() = 7;
        let held_too = child.lock().unwrap();
        assert_eq!(*states.get_as(3).try_lock().unwrap(), 0, "and so has a grandchild");
        drop((held, held_too));
    }

    #[test]
    fn a_process_keeps_its_state() {
        let states = PerProcess::<u8>::new();
        assert!(ptr::eq(states.get(), states.get()));
        let child = states.get_as(process::id() + 1);
        assert!(ptr::eq(states.get_as(process::id() + 1), child));
        assert!(!ptr::eq(&states.state, child));
    }
}
