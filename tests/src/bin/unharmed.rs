//! A program that does its work through recorded functions, and tells whether recording did anything to it.
//!
//! `unharmed` prints its results, bit by bit, on lines that begin with `result`, and what became of the process on others.
//! `unharmed busy [before|after]` stays in a recorded call for ever; with the second word it has a handler of its own for
//! the signal that asks it to end, set before recording began or after.

#![expect(clippy::print_stdout, reason = "the test reads it")]

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, hint, panic};

use callbox::{Config, DEFAULT_PREFIX, LiveValue, ToValue, Value, record, tensor_of};
use callbox_tests::c_library::end_with_15_when_asked_to;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What `/proc` says of signals: those that are blocked, ignored, handled.
const SIGNALS: [&str; 3] = ["SigBlk", "SigIgn", "SigCgt"];

/// A column of numbers that shows itself as a tensor.
struct Column(Vec<f32>);

impl ToValue for Column {
    fn to_value(&self) -> LiveValue<'_> {
        Value::Tensor(tensor_of(&self.0, &[self.0.len()]).expect("as many elements as it has"))
    }
}

/// Fills a column with numbers of a generator, which goes on.
#[record]
fn random(state: &mut u64, len: usize) -> Column {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    };
    Column((0..len).map(|_| next()).collect())
}

#[record]
fn normalise(column: &mut Column, epsilon: f32) -> Result<f32, String> {
    let mean = column.0.iter().map(|x| x * x).sum::<f32>() / column.0.len() as f32;
    if mean == 0.0 {
        return Err("every element is zero".to_owned());
    }
    let scale = (mean + epsilon).sqrt().recip();
    column.0.iter_mut().for_each(|x| *x *= scale);
    Ok(scale)
}

#[record]
fn busy() {
    println!("in the call");
    io::stdout().flush().ok();
    loop {
        hint::spin_loop();
    }
}

fn main() {
    panic::set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if arguments == ["busy", "before"] {
        end_with_15_when_asked_to();
    }
    let before = signals();
    let recording = callbox::from_env();
    let with_recorder = signals();
    match arguments.as_slice() {
        ["busy", rest @ ..] => {
            if rest == ["after"] {
                end_with_15_when_asked_to();
            }
            busy();
        }
        _ => work(),
    }
    let with_calls = signals();
    println!("config {:?}", Config::from_env(DEFAULT_PREFIX).0);
    println!("health {:?}", recording.recorder().health());
    drop(recording);
    let after = [with_recorder, with_calls, signals()];
    println!("signals {}", if after.iter().all(|now| *now == before) { "as before" } else { "changed" });
    println!("threads {}", fs::read_dir("/proc/self/task").map_or(0, Iterator::count));
    println!("panics {}", PANICS.load(Ordering::Relaxed));
}

fn work() {
    let mut state = 2026;
    let mut column = random(&mut state, 100);
    let scale = normalise(&mut column, 1e-6);
    let error = normalise(&mut Column(vec![0.0; 3]), 1e-6);
    let bits: Vec<u32> = column.0.iter().map(|x| x.to_bits()).collect();
    println!("result {state:x} {:x?} {error:?} {bits:x?}", scale.map(f32::to_bits));
}

/// Reads which signals are blocked, ignored and handled.
fn signals() -> Vec<String> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| SIGNALS.contains(&&line[..6.min(line.len())])).map(str::to_owned).collect()
}
