//! Each kernel, emulated, against the reference.

mod activation;
mod attention;
mod conversions;
mod norm;
mod rope;
mod statistics;
mod trial;
