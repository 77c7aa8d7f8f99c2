//! State that a forked child does not share with its parent.

use crate::planted;
use crate::sync::OnceBox;

/// A `T` for each process that gets here by forking, told apart by a `K`.
///
/// A child finds its parent's state as it was at the moment of the fork: a lock may be held by a thread that the
/// child does not have, and is never given back. So each process uses a state of its own and does not touch those
/// before it. They are kept: a child cannot know what may be dropped. There are as many as there were forks in a row.
///
/// ```
/// use std::sync::Mutex;
///
/// use callbox_core::PerProcess;
///
/// let counts: PerProcess<u32, Mutex<u64>> = PerProcess::new();
/// let held = counts.get(&1, Mutex::default).lock().unwrap();
/// *counts.get(&2, Mutex::default).try_lock().unwrap() += 1;
/// # drop(held);
/// ```
#[derive(Debug)]
pub struct PerProcess<K, T> {
    first: OnceBox<State<K, T>>,
}

#[derive(Debug)]
struct State<K, T> {
    process: K,
    state: T,
    /// That of a child, of which this is a copy in memory.
    next: OnceBox<State<K, T>>,
}

impl<K: Clone + PartialEq, T> PerProcess<K, T> {
    /// Returns an empty chain.
    pub fn new() -> PerProcess<K, T> {
        PerProcess { first: OnceBox::new() }
    }

    /// Returns the state of a process; the first time it is made.
    pub fn get(&self, process: &K, make: impl FnOnce() -> T) -> &T {
        let mut last = &self.first;
        while let Some(state) = last.get() {
            if state.process == *process || planted::bug("child_uses_its_parents_state") {
                return &state.state;
            }
            last = &state.next;
        }
        // Built beforehand, and stored by one instruction: a fork finds it done, or not begun.
        let fresh = Box::new(State { process: process.clone(), state: make(), next: OnceBox::new() });
        &last.get_or_init(|| fresh).state
    }
}

impl<K: Clone + PartialEq, T> Default for PerProcess<K, T> {
    fn default() -> PerProcess<K, T> {
        PerProcess::new()
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_child_has_a_state_of_its_own_whatever_its_parent_holds() {
        let states: PerProcess<u32, Mutex<u8>> = PerProcess::new();
        let held = states.get(&1, Mutex::default).lock().unwrap();
        let child = states.get(&2, Mutex::default);
        *child.try_lock().unwrap() = 7;
        let held_too = child.lock().unwrap();
        assert_eq!(*states.get(&3, Mutex::default).try_lock().unwrap(), 0, "and so has a grandchild");
        drop((held, held_too));
    }

    #[test]
    fn a_process_keeps_its_state() {
        let states: PerProcess<u32, u8> = PerProcess::new();
        let (first, child) = (states.get(&1, || 7), states.get(&2, || 8));
        assert!(ptr::eq(states.get(&1, || 0), first) && ptr::eq(states.get(&2, || 0), child));
        assert_eq!((*first, *child), (7, 8));
    }
}
