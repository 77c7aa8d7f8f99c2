//! The table of functions: one row each, kept by the family that holds the code.
//!
//! A signature is FlashInfer's own, in its order and with its defaults, from the signatures of
//! flashinfer-python 0.7.2. A default that is an object of FlashInfer's own ("unset") is written as `None`.

use std::fmt::Debug;

use callbox_core::{Bound, Contract, ExecError, OwnedValue};

use crate::{cascade, page, sampling};

/// The rows of every family.
const FAMILIES: &[&[Function]] = &[cascade::ROWS, page::ROWS, sampling::ROWS];

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

impl Function {
    /// Builds the row of a function that is no method.
    pub(crate) const fn new(
        contract: Contract,
        name: &'static str,
        signature: &'static str,
        run: fn(&mut Bound<'_>) -> Result<OwnedValue, ExecError>,
    ) -> Function {
        Function { name, signature, contract, run: Run::Function(run) }
    }
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
    /// Copies the object with its plan.
    fn duplicate(&self) -> Box<dyn Wrapper>;
}

/// Lists every row.
pub(crate) fn rows() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().copied().flatten()
}

/// Finds a row by its name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    rows().find(|row| row.name == name)
}
