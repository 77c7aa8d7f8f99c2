#![doc = include_str!("../README.md")]

mod answer;
mod driver;
mod pointer;

mod context;
mod device;

mod memory;

mod event;
mod queue;
mod stream;
mod transfer;

mod capture;
mod graph;

mod emulation;
mod launch;
mod module;

mod control;
