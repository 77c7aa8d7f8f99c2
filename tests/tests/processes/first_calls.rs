//! Forking while a function is recorded for the first time.

use std::process::Command;

use crate::workers::ends_well;

/// The child has no thread that would end what the parent's had begun: it must not wait for one.
#[test]
fn p18_a_child_that_is_forked_while_a_function_is_named_for_the_first_time_goes_on() {
    ends_well(Command::new(env!("CARGO_BIN_EXE_first_calls")));
}
