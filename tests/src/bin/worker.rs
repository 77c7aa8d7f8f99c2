//! A program that records many calls as its environment says.
//!
//! `worker NAME CALLS` records so many and says on standard output how far each has come: `runs 1`, `returns 1`,
//! `ended 1`. `worker NAME CALLS forks N` forks N children besides, while two threads record; each child records as many
//! calls and forks a child of its own that does.

#![expect(clippy::print_stdout, reason = "the test reads it")]

use std::io::{self, Write};
use std::{env, process, thread};

use callbox::core::{Callsite, LiveArguments};
use callbox::{Recorder, Value, tensor_of};
use callbox_tests::c_library::{came_to_its_end, in_a_child};
use callbox_tests::size::payload_bytes;

static CALLSITE: Callsite = Callsite::new("worker", "work", "(name, number, payload, x)");

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (name, calls) = match arguments.as_slice() {
        [name, calls, ..] => (name.as_str(), calls.parse().expect("a number of calls")),
        _ => panic!("expected NAME CALLS [forks N]"),
    };
    let recording = callbox::from_env();
    let recorder = recording.recorder();
    match arguments.get(3) {
        None => (1..=calls).for_each(|number| call(recorder, name, number, say)),
        Some(children) => record_and_fork(recorder, calls, children.parse().expect("a number of children")),
    }
    println!("health {:?}", recorder.health());
}

fn record_and_fork(recorder: &Recorder, calls: u64, children: usize) {
    thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                let name = format!("thread{thread}");
                (1..=calls).for_each(|number| call(recorder, &name, number, |_, _| {}));
            });
        }
        for _ in 0..children {
            let child = in_a_child(|| {
                record_as_child(recorder, calls);
                let grandchild = in_a_child(|| record_as_child(recorder, calls));
                assert!(came_to_its_end(grandchild), "the grandchild records to its end");
            });
            assert!(came_to_its_end(child), "the child records to its end");
        }
    });
}

fn record_as_child(recorder: &Recorder, calls: u64) {
    let name = format!("child{}", process::id());
    (1..=calls).for_each(|number| call(recorder, &name, number, |_, _| {}));
}

/// Records a call with a text of some length and a tensor, whose result is the tensor.
fn call(recorder: &Recorder, name: &str, number: u64, say: impl Fn(&str, u64)) {
    let payload = "x".repeat(payload_bytes(number));
    let x = [number as i32; 4];
    let tensor = || Value::Tensor(tensor_of(&x, &[4]).expect("four elements"));
    let pending = recorder.begin(&CALLSITE, || LiveArguments {
        positional: vec![
            Value::text(name),
            Value::int(number as i64),
            Value::text(payload.as_str()),
            tensor(),
        ],
        ..LiveArguments::default()
    });
    let ((), pending) = pending.run(|| {
        say("runs", number);
        say("returns", number);
    });
    pending.complete(|| tensor().into());
    say("ended", number);
}

/// Says how far a call has come, past every buffer.
fn say(what: &str, number: u64) {
    io::stdout().write_all(format!("{what} {number}\n").as_bytes()).expect("somebody reads");
}
