//! The executor: finds a function's row, binds the recorded arguments to its signature, runs it.

use callbox_core::{
    Arguments, Contract, Device, ExecError, Executor, FunctionName, Instance, OwnedValue, Signature,
};

use callbox_functions::FunctionExecutor;

use crate::kernels::CpuKernels;
use crate::table::{self, Function, Run, Wrapper};

/// Runs the functions of FlashInfer on the CPU.
///
/// A function is found by its name in any module of the `flashinfer` package: modules move between releases,
/// names do not.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuExecutor;

impl Executor for CpuExecutor {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        let moved = FunctionExecutor::new(CpuKernels).contract(function);
        moved.or_else(|| find(function).map(|row| row.contract))
    }

    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        let mut moved = FunctionExecutor::new(CpuKernels);
        if moved.contract(function).is_some() {
            return moved.call(function, arguments);
        }
        let row = find(function).ok_or_else(|| ExecError::NoExecutor(function.clone()))?;
        match row.run {
            Run::Function(run) => run(&mut arguments.bind(&Signature::parse(row.signature))?),
            Run::Constructor(_) | Run::Method(_) => Err(ExecError::NotConstructed(row.name.to_owned())),
        }
    }

    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError> {
        let mut moved = FunctionExecutor::new(CpuKernels);
        if moved.contract(constructor).is_some() {
            return moved.construct(constructor, arguments);
        }
        let row = find(constructor).ok_or_else(|| ExecError::NoExecutor(constructor.clone()))?;
        let (Run::Constructor(run), Some((class, _))) = (row.run, row.name.rsplit_once('.')) else {
            return Err(ExecError::NoExecutor(constructor.clone()));
        };
        let wrapper = run(&mut arguments.bind(&Signature::parse(row.signature))?)?;
        Ok(Box::new(CpuInstance { class, wrapper }))
    }
}

/// An object of one of FlashInfer's wrapper classes.
#[derive(Debug)]
struct CpuInstance {
    class: &'static str,
    wrapper: Box<dyn Wrapper>,
}

impl Instance for CpuInstance {
    fn duplicate(&self) -> Box<dyn Instance> {
        Box::new(CpuInstance { class: self.class, wrapper: self.wrapper.duplicate() })
    }

    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        let name = format!("{}.{method}", self.class);
        match table::find(&name) {
            Some(Function { signature, run: Run::Method(run), .. }) => {
                run(&mut *self.wrapper, &mut arguments.bind(&Signature::parse(signature))?)
            }
            Some(_) | None => Err(ExecError::NoExecutor(FunctionName::new("flashinfer", name))),
        }
    }
}

fn find(function: &FunctionName) -> Option<&'static Function> {
    let module = function.module();
    if module != "flashinfer" && !module.starts_with("flashinfer.") {
        return None;
    }
    table::find(function.name())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_signature_of_the_table_can_be_read_and_no_name_stands_twice() {
        let mut names = HashSet::new();
        for row in table::rows() {
            let signature = Signature::parse(row.signature);
            assert!(!signature.parameters().is_empty(), "{}", row.name);
            assert!(names.insert(row.name), "{} stands twice", row.name);
        }
    }

    #[test]
    fn a_function_is_found_in_any_module_of_flashinfer_and_in_no_other() {
        for (module, found) in
            [("flashinfer", true), ("flashinfer.norm", true), ("flashinfer_fork", false), ("os", false)]
        {
            let contract = CpuExecutor.contract(&FunctionName::new(module, "rmsnorm"));
            assert_eq!(contract.is_some(), found, "{module}");
        }
    }
}
