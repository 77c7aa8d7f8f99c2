//! A program that forks while a thread of it comes to functions for the first time; the child comes to all of them.

use std::thread;

use callbox::core::Callsite;
use callbox_tests::c_library::{came_to_its_end, in_a_child};

/// In each the fork falls into the thread's work at another place.
const ROUNDS: usize = 50;
const FUNCTIONS: usize = 20_000;

fn main() {
    for _ in 0..ROUNDS {
        let functions: Vec<_> = (0..FUNCTIONS).map(|_| Callsite::new("app::engine", "step", "()")).collect();
        let name_all =
            || functions.iter().for_each(|function| assert_eq!(function.function().name(), "step"));
        thread::scope(|scope| {
            scope.spawn(name_all);
            assert!(came_to_its_end(in_a_child(name_all)), "the child names them all");
        });
    }
}
