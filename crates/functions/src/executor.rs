//! The executor: finds a function's row, binds the recorded arguments to its signature, runs it on the kernels.

use callbox_core::{
    Arguments, Contract, Device, ExecError, Executor, FunctionName, Instance, OwnedValue, Signature,
};

use crate::kernels::Kernels;
use crate::table::{self, Function, Run, Wrapper};

/// Runs the functions of FlashInfer on the kernels of a device.
///
/// A function is found by its name in any module of the `flashinfer` package: modules move between releases,
/// names do not. One whose kernel the device lacks is not found.
#[derive(Clone, Copy, Debug, Default)]
pub struct FunctionExecutor<K> {
    kernels: K,
}

impl<K: Kernels> FunctionExecutor<K> {
    /// Puts the functions over these kernels.
    pub fn new(kernels: K) -> FunctionExecutor<K> {
        FunctionExecutor { kernels }
    }

    fn find(&self, function: &FunctionName) -> Option<&'static Function> {
        let module = function.module();
        if module != "flashinfer" && !module.starts_with("flashinfer.") {
            return None;
        }
        table::find(function.name()).filter(|row| self.kernels.has(row.kernel))
    }
}

impl<K: Kernels + Clone + 'static> Executor for FunctionExecutor<K> {
    fn device(&self) -> Device {
        self.kernels.device()
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        self.find(function).map(|row| row.contract)
    }

    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        let row = self.find(function).ok_or_else(|| ExecError::NoExecutor(function.clone()))?;
        match row.run {
            Run::Function(run) => {
                run(&mut self.kernels, &mut arguments.bind(&Signature::parse(row.signature))?)
            }
            Run::Constructor(_) | Run::Method(_) => Err(ExecError::NotConstructed(row.name.to_owned())),
        }
    }

    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError> {
        let row = self.find(constructor).ok_or_else(|| ExecError::NoExecutor(constructor.clone()))?;
        let (Run::Constructor(run), Some((class, _))) = (row.run, row.name.rsplit_once('.')) else {
            return Err(ExecError::NoExecutor(constructor.clone()));
        };
        let wrapper = run(&mut arguments.bind(&Signature::parse(row.signature))?)?;
        Ok(Box::new(FunctionInstance { class, wrapper, kernels: self.kernels.clone() }))
    }
}

/// An object of one of FlashInfer's wrapper classes, with the kernels that it runs on.
#[derive(Debug)]
struct FunctionInstance<K> {
    class: &'static str,
    wrapper: Box<dyn Wrapper>,
    kernels: K,
}

impl<K: Kernels + Clone + 'static> Instance for FunctionInstance<K> {
    fn duplicate(&self) -> Box<dyn Instance> {
        Box::new(FunctionInstance {
            class: self.class,
            wrapper: self.wrapper.duplicate(),
            kernels: self.kernels.clone(),
        })
    }

    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        let name = format!("{}.{method}", self.class);
        match table::find(&name) {
            Some(Function { signature, run: Run::Method(run), .. }) => {
                let signature = Signature::parse(signature);
                run(&mut *self.wrapper, &mut self.kernels, &mut arguments.bind(&signature)?)
            }
            Some(_) | None => Err(ExecError::NoExecutor(FunctionName::new("flashinfer", name))),
        }
    }
}
