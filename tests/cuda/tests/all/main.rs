//! Each kernel, emulated, against the reference.

mod conversions;
mod norm;
mod trial;
