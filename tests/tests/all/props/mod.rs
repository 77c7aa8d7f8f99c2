//! Laws that hold for any input: `cargo xtask test --props` runs these alone.

mod filter;
mod fnmatch;
mod order;
