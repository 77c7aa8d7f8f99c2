//! Every order of the threads of each model.

#![expect(clippy::print_stdout, reason = "how many orders there are is a figure")]

use callbox_models::{budget_models, line_models, per_process_models};

fn check(model: fn() -> usize) {
    let orders = model();
    println!("{orders} orders");
    assert!(orders > 1, "threads that cannot meet show nothing");
}

/// The largest model has 382,584 orders.
#[expect(clippy::disallowed_methods, reason = "how long a test may take is for its caller to say")]
fn soaks() -> bool {
    std::env::var_os("CALLBOX_SOAK").is_some_and(|value| value == "1")
}

#[test]
fn calls_are_never_more_than_allowed_in_any_order_of_two_threads() {
    check(budget_models::two_threads_take_calls);
}

#[test]
fn bytes_are_never_more_than_allowed_in_any_order_of_two_threads() {
    check(budget_models::two_threads_take_bytes);
}

#[test]
fn u15_calls_are_never_more_than_allowed_in_any_order_of_three_threads() {
    check(budget_models::three_threads_take_calls);
}

#[test]
fn a_process_has_one_state_in_any_order_of_its_threads() {
    check(per_process_models::two_threads_make_the_first_state);
    check(per_process_models::two_threads_make_a_grandchild_s_state);
    check(per_process_models::three_threads_make_a_child_s_state);
}

#[test]
fn p16_lines_of_processes_stay_whole_in_any_order() {
    check(line_models::two_processes_append_behind_a_torn_line);
    if soaks() {
        check(line_models::three_processes_append);
    }
}

#[test]
fn p16_lines_of_threads_stay_whole_in_any_order() {
    check(line_models::two_threads_append);
}
