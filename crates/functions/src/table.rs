//! The table of functions: one row each, kept by the family that holds the code.
//!
//! A signature is FlashInfer's own, in its order and with its defaults, from the signatures of
//! flashinfer-python 0.7.2. A default that is an object of FlashInfer's own ("unset") is written as `None`.

use std::fmt::Debug;

use callbox_core::{Bound, Contract, ExecError, OwnedValue};

use crate::kernels::{Kernel, Kernels};
use crate::{activation, attention, cascade, fp4, gemm, norm, page, rope, sampling};

/// The rows of every family.
const FAMILIES: &[&[Function]] = &[
    activation::ROWS,
    attention::ROWS,
    cascade::ROWS,
    fp4::ROWS,
    gemm::ROWS,
    norm::ROWS,
    page::ROWS,
    rope::ROWS,
    sampling::ROWS,
];

/// One function, or one method of a wrapper class.
#[derive(Debug)]
pub(crate) struct Function {
    /// `function` or `ClassName.method`.
    pub(crate) name: &'static str,
    /// Parameters in Python's spelling, without `self`.
    pub(crate) signature: &'static str,
    /// What replay has to know beside the result.
    pub(crate) contract: Contract,
    /// What it needs of a device; of a wrapper class, what its `run` needs.
    pub(crate) kernel: Kernel,
    /// How it is run.
    pub(crate) run: Run,
}

/// Reads the arguments of a function, has its problem solved, and puts the results where they belong.
type RunFunction = fn(&mut dyn Kernels, &mut Bound<'_>) -> Result<OwnedValue, ExecError>;

impl Function {
    /// Builds the row of a function that is no method.
    pub(crate) const fn new(
        kernel: Kernel,
        contract: Contract,
        name: &'static str,
        signature: &'static str,
        run: RunFunction,
    ) -> Function {
        Function { name, signature, contract, kernel, run: Run::Function(run) }
    }
}

/// How a row is run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Run {
    /// A function.
    Function(RunFunction),
    /// `ClassName.__init__`.
    Constructor(fn(&mut Bound<'_>) -> Result<Box<dyn Wrapper>, ExecError>),
    /// A method of an object.
    Method(fn(&mut dyn Wrapper, &mut dyn Kernels, &mut Bound<'_>) -> Result<OwnedValue, ExecError>),
}

/// An object that is planned and then run any number of times.
pub(crate) trait Wrapper: Debug + Send {
    /// Replaces the plan.
    fn plan(&mut self, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError>;
    /// Runs by the last plan.
    fn run(&mut self, kernels: &mut dyn Kernels, arguments: &mut Bound<'_>) -> Result<OwnedValue, ExecError>;
    /// Copies the object with its plan.
    fn duplicate(&self) -> Box<dyn Wrapper>;
}

/// Lists the names of all functions and methods: `rmsnorm`, `BatchDecodeWithPagedKVCacheWrapper.run`.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    rows().map(|row| row.name)
}

/// Lists every row.
pub(crate) fn rows() -> impl Iterator<Item = &'static Function> {
    FAMILIES.iter().copied().flatten()
}

/// Finds a row by its name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    rows().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use callbox_core::Signature;

    use super::*;

    #[test]
    fn every_signature_of_the_table_can_be_read_and_no_name_stands_twice() {
        let mut names = HashSet::new();
        for row in rows() {
            let signature = Signature::parse(row.signature);
            assert!(!signature.parameters().is_empty(), "{}", row.name);
            assert!(names.insert(row.name), "{} stands twice", row.name);
        }
    }
}
