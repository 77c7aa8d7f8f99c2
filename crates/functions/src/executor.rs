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

#[cfg(test)]
mod tests {
    use callbox_core::{DType, TensorBuf, Value};

    use super::*;
    use crate::activation::Gate;
    use crate::kernels::Kernel;

    /// Has gates alone, and gives the same answer to all.
    #[derive(Clone, Debug)]
    struct OnlyGates(TensorBuf);

    impl Kernels for OnlyGates {
        fn device(&self) -> Device {
            Device::Cuda(0)
        }

        fn has(&self, kernel: Kernel) -> bool {
            kernel == Kernel::Gate
        }

        fn gate(&mut self, _: &Gate<'_>) -> Result<TensorBuf, ExecError> {
            Ok(self.0.clone())
        }
    }

    fn zeros(dtype: DType, shape: &[usize]) -> TensorBuf {
        let numel: usize = shape.iter().product();
        TensorBuf::from_f32(dtype, shape, &vec![0.0; numel]).unwrap()
    }

    fn executor() -> FunctionExecutor<OnlyGates> {
        FunctionExecutor::new(OnlyGates(zeros(DType::Float16, &[2, 4])))
    }

    fn gate_with_out(answer: TensorBuf, out: TensorBuf) -> Result<OwnedValue, ExecError> {
        let positional = vec![Value::Tensor(zeros(DType::Float16, &[2, 8])), Value::Tensor(out)];
        let mut arguments = Arguments { positional, ..Arguments::default() };
        let name = FunctionName::new("flashinfer", "silu_and_mul");
        FunctionExecutor::new(OnlyGates(answer)).call(&name, &mut arguments)
    }

    #[test]
    fn functions_and_objects_whose_kernel_the_device_lacks_are_not_there() {
        let name = |name| FunctionName::new("flashinfer", name);
        assert!(executor().contract(&name("silu_and_mul")).is_some());
        for absent in ["rmsnorm", "BatchDecodeWithPagedKVCacheWrapper.run"] {
            assert!(executor().contract(&name(absent)).is_none(), "{absent}");
        }
        let called = executor().call(&name("rmsnorm"), &mut Arguments::default());
        assert!(matches!(called, Err(ExecError::NoExecutor(_))), "{called:?}");
        let constructor = name("BatchDecodeWithPagedKVCacheWrapper.__init__");
        let built = executor().construct(&constructor, &mut Arguments::default());
        assert!(matches!(built, Err(ExecError::NoExecutor(_))), "{built:?}");
    }

    #[test]
    fn an_answer_other_than_the_one_asked_for_is_the_device_s_failure() {
        let out = || zeros(DType::BFloat16, &[2, 4]);
        assert!(gate_with_out(zeros(DType::BFloat16, &[2, 4]), out()).is_ok());
        let columns = zeros(DType::BFloat16, &[2, 4]).relaid(&[1, 2]).unwrap();
        for wrong in [zeros(DType::Float16, &[2, 4]), zeros(DType::BFloat16, &[8]), columns] {
            let answer = gate_with_out(wrong, out());
            assert!(matches!(answer, Err(ExecError::Device(_))), "{answer:?}");
        }
    }

    #[test]
    fn what_cannot_be_kept_is_asked_of_no_kernel() {
        let complex = TensorBuf::from_elements(DType::Complex64, &[2, 4], vec![0; 64]).unwrap();
        let packed = TensorBuf::from_elements(DType::Float4E2M1FnX2, &[2, 4], vec![0; 8]).unwrap();
        for out in [complex, packed] {
            let error = gate_with_out(zeros(DType::Float16, &[2, 4]), out).unwrap_err();
            assert!(matches!(&error, ExecError::Elements { argument, .. } if argument == "out"), "{error:?}");
        }
    }
}
