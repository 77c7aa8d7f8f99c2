//! A program that records as its environment says, and ends as its argument says.

#![expect(clippy::print_stdout, reason = "the test waits for a line")]

use std::io::Write;
use std::{env, process, thread, time::Duration};

use callbox::core::{Callsite, LiveArguments, RecordedError};
use callbox::{Recorder, Value, tensor_of};
use rustix::process::{Signal, getpid, kill_process};

static GOOD: Callsite = Callsite::new("victim", "good", "(x)");
static BAD: Callsite = Callsite::new("victim", "bad", "(x)");

const THREADS: usize = 16;
const CALLS: usize = 1000;

fn main() {
    let recording = callbox::from_env();
    let recorder = recording.recorder();
    call(recorder, &GOOD, 1, || Ok(()));
    match env::args().nth(1).as_deref() {
        Some("abort") => call(recorder, &BAD, 2, || process::abort()),
        Some("segfault") => call(recorder, &BAD, 2, || {
            loop {
                // The first one only takes the standard library's own handler away.
                kill_process(getpid(), Signal::SEGV).ok();
            }
        }),
        Some("panic") => call(recorder, &BAD, 2, || panic!("index out of range")),
        Some("error") => call(recorder, &BAD, 2, || Err("no such page")),
        Some("hang") => call(recorder, &BAD, 2, || {
            println!("in the call");
            std::io::stdout().flush().ok();
            loop {
                thread::sleep(Duration::from_secs(1));
            }
        }),
        Some("threads") => thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || {
                    for number in (0..CALLS).filter(|number| number % THREADS == thread) {
                        call(recorder, &GOOD, number as i32, || Ok(()));
                    }
                });
            }
        }),
        Some(_) | None => {}
    }
    println!("{:?}", recorder.health());
}

/// Records a call with one tensor, whose result is the tensor.
fn call(recorder: &Recorder, callsite: &Callsite, x: i32, body: impl FnOnce() -> Result<(), &'static str>) {
    let x = [x; 16];
    let tensor = || Value::Tensor(tensor_of(&x, &[16]).expect("sixteen elements"));
    let pending =
        recorder.begin(callsite, || LiveArguments { positional: vec![tensor()], ..LiveArguments::default() });
    let (result, pending) = pending.run(body);
    pending.end(|| match result {
        Ok(()) => Ok(tensor().into()),
        Err(text) => {
            let (kind, type_name) = ("error".to_owned(), "&str".to_owned());
            Err(RecordedError { kind, type_name, text: text.to_owned() })
        }
    });
}
