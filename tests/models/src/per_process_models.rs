//! The state of a process, made by the threads that ask for it first.

use std::ptr;
use std::sync::Arc;

use crate::per_process::PerProcess;

/// Threads of one process ask at once: they get one state, whoever made it. `forks` is how many processes there were
/// before this one, each the child of the one before.
fn check(forks: u32, threads: usize) -> usize {
    crate::orders(move || {
        let states = Arc::new(PerProcess::<u32, u32>::new());
        (0..forks).for_each(|parent| {
            states.get(&parent, || parent);
        });
        let ask = move |states: &PerProcess<u32, u32>| ptr::from_ref(states.get(&forks, || forks)).addr();
        let others: Vec<_> = (1..threads)
            .map(|_| {
                let states = states.clone();
                loom::thread::spawn(move || ask(&states))
            })
            .collect();
        let place = ask(&states);
        for other in others {
            assert_eq!(
                other.join().expect("no thread panics"),
                place,
                "threads of one process share its state"
            );
        }
        for process in 0..=forks {
            assert_eq!(*states.get(&process, || u32::MAX), process, "each has its own");
        }
    })
}

/// Two threads of a first process, which asks for its state.
pub(crate) fn two_threads_make_the_first_state() -> usize {
    check(0, 2)
}

/// Two threads of a grandchild.
pub(crate) fn two_threads_make_a_grandchilds_state() -> usize {
    check(2, 2)
}

/// Three threads of a child.
pub(crate) fn three_threads_make_a_childs_state() -> usize {
    check(1, 3)
}
