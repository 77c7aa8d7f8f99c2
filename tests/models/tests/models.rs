//! Every order of the threads of each model.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]
#![expect(clippy::print_stdout, reason = "how many orders there are is a figure")]

use std::process::Command;

/// Runs a model in a process of its own.
#[track_caller]
fn check(model: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_models")).arg(model).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{model}: {}", String::from_utf8_lossy(&output.stderr));
    let orders: usize = text.trim().strip_suffix(" orders").and_then(|number| number.parse().ok()).unwrap();
    assert!(orders > 1, "threads that cannot meet show nothing");
    println!("figures: {model}: {orders} orders");
}

/// The largest model has 382,584 orders.
#[expect(clippy::disallowed_methods, reason = "how long a test may take is for its caller to say")]
fn soaks() -> bool {
    std::env::var_os("CALLBOX_SOAK").is_some_and(|value| value == "1")
}

#[test]
fn u15_calls_are_never_more_than_allowed_in_any_order() {
    check("two threads take calls");
    check("three threads take calls");
}

#[test]
fn bytes_are_never_more_than_allowed_in_any_order() {
    check("two threads take bytes");
}

#[test]
fn p13_limits_that_are_shared_are_exact_in_any_order() {
    check("two processes share limits");
    check("two threads share limits");
}

#[test]
fn one_call_probes_a_sink_that_failed_in_any_order() {
    check("two threads probe a sink that fails");
    check("three threads probe a sink that works again");
}

#[test]
fn a_process_has_one_state_in_any_order_of_its_threads() {
    check("two threads make the first state");
    check("two threads make a grandchild's state");
    check("three threads make a child's state");
}

#[test]
fn p16_lines_of_processes_stay_whole_in_any_order() {
    check("two processes append behind a torn line");
    if soaks() {
        check("three processes append");
    }
}

#[test]
fn p16_lines_of_threads_stay_whole_in_any_order() {
    check("two threads append");
}
