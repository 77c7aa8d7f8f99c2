#![doc = include_str!("../README.md")]

mod chain;
mod death;
mod journal;
mod json_float;
mod limits;
mod process;
mod wire;
mod worker;

pub use chain::{Isolation, continue_chains, replay_chain_isolated};
pub use journal::{Binding, Journal, JournalError, identity};
pub use json_float::JsonFloat;
pub use limits::Limits;
pub use worker::{Parts, serve};
