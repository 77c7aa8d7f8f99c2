//! A program that records four calls, and is killed at one of the operations on files that this takes.
//!
//! `killed_at FOLDER DURABILITY NUMBER MOMENT` says on standard output how far each call has come.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, io};

use callbox::core::{Adapters, Callsite, Level, LiveArguments, RecordedError, Settings};
use callbox::{Recorder, Value, tensor_of};
use callbox_format_pt::PtSerializer;
use callbox_sink_fs::{FsSink, Hashing, SinkOptions};
use callbox_system::{SystemClock, SystemHost};
use callbox_tests::deadly::DeadlyFiles;

static FIRST: Callsite = Callsite::new("killed_at", "first", "(x)");
static FAILING: Callsite = Callsite::new("killed_at", "failing", "(x)");
static OUTER: Callsite = Callsite::new("killed_at", "outer", "(x)");
static INNER: Callsite = Callsite::new("killed_at", "inner", "(x)");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, durability, number, moment] = arguments.as_slice() else {
        return Err("expected FOLDER DURABILITY NUMBER MOMENT".into());
    };
    let options = SinkOptions {
        root: PathBuf::from(folder),
        format: Arc::new(PtSerializer),
        fallback: None,
        durability: durability.parse()?,
        hashing: Hashing::Xxh3,
    };
    let files = DeadlyFiles::new(number.parse()?, moment.parse()?);
    let recorder = Recorder::new(
        Settings { level: Level::Dumps, ..Settings::default() },
        Adapters {
            log: None,
            dumps: Some(Arc::new(FsSink::on(Arc::new(files), options))),
            usage: None,
            clock: Arc::new(SystemClock::new()),
            host: Arc::new(SystemHost::new()),
        },
    );
    call(&recorder, &FIRST, || Ok(()));
    call(&recorder, &FAILING, || Err("no such page"));
    call(&recorder, &OUTER, || {
        call(&recorder, &INNER, || Ok(()));
        Ok(())
    });
    say("done", "");
    Ok(())
}

/// Records a call with one tensor, whose result is the tensor.
fn call(recorder: &Recorder, callsite: &Callsite, body: impl FnOnce() -> Result<(), &'static str>) {
    let name = callsite.function().name();
    let x = [7i32; 2048];
    let tensor = || Value::Tensor(tensor_of(&x, &[2048]).expect("as many elements"));
    say("begins", name);
    let pending =
        recorder.begin(callsite, || LiveArguments { positional: vec![tensor()], ..LiveArguments::default() });
    let (result, pending) = pending.run(|| {
        say("runs", name);
        let result = body();
        say("returns", name);
        result
    });
    pending.end(|| match result {
        Ok(()) => Ok(tensor().into()),
        Err(text) => {
            let (kind, type_name) = ("error".to_owned(), "&str".to_owned());
            Err(RecordedError { kind, type_name, text: text.to_owned() })
        }
    });
    say("ended", name);
}

/// Says how far the program is, past every buffer.
fn say(what: &str, name: &str) {
    io::stdout().write_all(format!("{what} {name}\n").as_bytes()).expect("somebody reads");
}
