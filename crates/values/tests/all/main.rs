//! The crate as an application sees it.

mod foreign_types;
mod round_trip;
