#![doc = include_str!("../README.md")]

mod answer;
mod args;
mod command;
mod convert;
mod describe;
mod exit;
mod json;
mod list;
mod progress;
mod replay;
mod session;
mod show;
mod style;
mod units;
mod verify;

pub use command::{Executors, OpenCuda, run, run_on};
