//! The command `callbox` as an application composes it, with functions that end their process, or never end.

#![expect(unsafe_code, reason = "a segmentation fault is what is tried")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a function may print")]
#![expect(clippy::exit, clippy::disallowed_methods, reason = "a function may leave the process")]

use std::process::{self, Command, ExitCode};
use std::time::Duration;
use std::{hint, io, ptr, thread};

use callbox_core::{
    Arguments, Contract, DType, Device, ExecError, Executor, FunctionName, Instance, OwnedValue, TensorBuf,
    Value,
};

fn main() -> ExitCode {
    callbox_cli::run(&|| Box::new(Crasher))
}

#[derive(Debug)]
struct Crasher;

impl Executor for Crasher {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        (function.module() == "crasher").then(Contract::default)
    }

    fn call(&mut self, function: &FunctionName, _: &mut Arguments) -> Result<OwnedValue, ExecError> {
        run(function.name());
        Ok(Value::int(1))
    }

    fn construct(&mut self, _: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
        Ok(Box::new(Thing::default()))
    }
}

/// Adds up.
#[derive(Clone, Debug, Default)]
struct Thing {
    sum: i64,
    is_armed: bool,
}

impl Instance for Thing {
    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        match method {
            "plan" | "add" => {
                let Some(Value::Int(x)) = arguments.positional.last() else {
                    return Err(ExecError::MissingArgument("x".to_owned()));
                };
                self.sum += x.to_string().parse::<i64>().map_err(|error| ExecError::Device(error.into()))?;
            }
            "arm" => self.is_armed = true,
            other => run(other.trim_start_matches("plan_")),
        }
        if method.starts_with("plan") {
            return Ok(Value::None);
        }
        let sum = TensorBuf::from_f32(DType::Float32, &[1], &[self.sum as f32]);
        sum.map(Value::Tensor).map_err(|error| ExecError::Device(error.into()))
    }

    fn duplicate(&self) -> Box<dyn Instance> {
        Box::new(self.clone())
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        if self.is_armed {
            process::abort();
        }
    }
}

fn run(function: &str) {
    match function {
        "fine" => {}
        "noisy" => {
            println!("{{\"End\":null}}\n\"Done\"");
            eprintln!("{}", "noise ".repeat(100_000));
            let mut line = String::new();
            assert_eq!(io::stdin().read_line(&mut line).ok(), Some(0), "there is something to read");
        }
        "slow" => thread::sleep(Duration::from_millis(100)),
        "segv" => {
            eprintln!("about to read");
            // SAFETY: none; nothing is mapped there, and the process ends.
            hint::black_box(unsafe { ptr::without_provenance::<u8>(8).read_volatile() });
        }
        "abort" => process::abort(),
        "overflow" => drop(hint::black_box(deeper(hint::black_box(1)))),
        "exit" => process::exit(0),
        "kill" => drop(Command::new("sh").args(["-c", "kill -9 $PPID; sleep 1"]).status()),
        "hang" => loop {
            thread::sleep(Duration::from_secs(1));
        },
        // What it starts does not end by itself.
        "breed" => drop(Command::new("sleep").arg("1000").status()),
        "eat" => eat(),
        "gulp" => drop(hint::black_box(vec![1u8; 1 << 46])),
        other => panic!("there is no function {other}"),
    }
}

/// Takes memory without end.
fn eat() {
    /// A test that sets no limit does not take the machine down.
    const MOST: usize = 4 << 30;
    const PIECE: usize = 16 << 20;
    let mut pieces = Vec::new();
    while pieces.len() * PIECE < MOST {
        pieces.push(hint::black_box(vec![1u8; PIECE]));
    }
}

#[expect(unconditional_recursion, reason = "the stack has to end some time")]
fn deeper(depth: u64) -> [u64; 64] {
    let below = deeper(hint::black_box(depth + 1));
    [below[0] + depth; 64]
}
