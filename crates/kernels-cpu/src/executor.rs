//! The executor: FlashInfer's functions over the kernels of the CPU.

use callbox_core::{Arguments, Contract, Device, ExecError, Executor, FunctionName, Instance, OwnedValue};
use callbox_functions::FunctionExecutor;

use crate::kernels::CpuKernels;

/// Runs the functions of FlashInfer on the CPU.
///
/// It is a [`FunctionExecutor`] over [`CpuKernels`], which have no state: a new one is made for each call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuExecutor;

impl CpuExecutor {
    fn functions(self) -> FunctionExecutor<CpuKernels> {
        FunctionExecutor::new(CpuKernels)
    }
}

#[deny(clippy::missing_trait_methods, reason = "whatever an executor is asked, the functions answer")]
impl Executor for CpuExecutor {
    fn device(&self) -> Device {
        self.functions().device()
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        self.functions().contract(function)
    }

    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        self.functions().call(function, arguments)
    }

    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError> {
        self.functions().construct(constructor, arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
