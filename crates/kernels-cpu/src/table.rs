//! The table of functions: one row each.
//!
//! A signature is FlashInfer's own, in its order and with its defaults, from the signatures of
//! flashinfer-python 0.7.2.

use std::fmt::Debug;

use callbox_core::{Bound, Contract, ExecError, OwnedValue, ResultRule};

use crate::norm;

/// One function, or one method of a wrapper class.
#[derive(Debug)]
pub(crate) struct Function {
    /// `function` or `ClassName.method`.
    pub(crate) name: &'static str,
    /// Parameters in Python's spelling, without `self`.
    pub(crate) signature: &'static str,
    /// What replay has to know beside the result.
    pub(crate) contract: Contract,
    /// The code.
    pub(crate) run: Run,
}

/// How a row is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// A function.
    Function(fn(&mut Bound<'_>) -> Result<OwnedValue, ExecError>),
    /// `ClassName.__init__`.
    Constructor(fn(&mut Bound<'_>) -> Result<Box<dyn Wrapper>, ExecError>),
    /// A method of an object.
    Method(fn(&mut dyn Wrapper, &mut Bound<'_>) -> Result<OwnedValue, ExecError>),
}

/// An object that is planned and then run any number of times.
pub(crate) trait Wrapper: Debug + Send {
    /// Replaces the plan.
    fn plan(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError>;
    /// Runs by the last plan.
    fn run(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError>;
}

/// Finds a row by its name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|row| row.name == name)
}

const OUT: &[&str] = &["out"];

const fn values(writes: &'static [&'static str]) -> Contract {
    Contract {
        writes,
        results: &[ResultRule::Values],
    }
}

pub(crate) const FUNCTIONS: &[Function] = &[Function {
    name: "rmsnorm",
    signature: "input, weight, eps=1e-6, out=None, enable_pdl=None",
    contract: values(OUT),
    run: Run::Function(norm::rmsnorm),
}];
