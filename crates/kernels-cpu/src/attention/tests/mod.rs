//! Tests of the attention family: laws against a naive program in f64, and the details that no recorded call
//! tells apart.

mod case;
mod details;
mod errors;
mod hostile;
mod laws;
mod object;
mod oracle;
