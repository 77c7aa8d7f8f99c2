//! Objects of the wrapper classes: built, planned and run as replay does it.

use callbox_core::{Arguments, ExecError, Executor, FunctionName, Instance, OwnedValue, TensorBuf, Value};

use crate::CpuExecutor;
use crate::trial::{self, Trial};

/// Begins the arguments of a method.
pub(super) fn arguments() -> Trial {
    trial::call("method")
}

/// Appends sizes by position.
pub(super) fn with_sizes<const N: usize>(given: Trial, sizes: [i64; N]) -> Trial {
    sizes.into_iter().fold(given, |given, size| given.with(size))
}

/// An object of a wrapper class.
pub(super) struct Object(Box<dyn Instance>);

impl Object {
    /// Builds an object of this layout.
    pub(super) fn new(class: &str, layout: &str) -> Object {
        Object::build(class, arguments().with(workspace()).with(layout)).unwrap()
    }

    pub(super) fn build(class: &str, given: Trial) -> Result<Object, ExecError> {
        let name = FunctionName::new("flashinfer", format!("{class}.__init__"));
        CpuExecutor.construct(&name, &mut given.into_arguments()).map(Object)
    }

    pub(super) fn plan(&mut self, given: Trial) -> Result<(), ExecError> {
        match self.0.call("plan", &mut given.into_arguments())? {
            Value::None => Ok(()),
            other => panic!("plan returned {other:?}"),
        }
    }

    pub(super) fn run(&mut self, given: Trial) -> Result<OwnedValue, ExecError> {
        self.run_with(&mut given.into_arguments())
    }

    pub(super) fn run_with(&mut self, given: &mut Arguments) -> Result<OwnedValue, ExecError> {
        self.0.call("run", given)
    }

    /// Runs with `return_lse`, and returns output and log-sum-exp.
    pub(super) fn pair(&mut self, given: Trial) -> (TensorBuf, TensorBuf) {
        pair(self.run(given.named("return_lse", true)).unwrap())
    }
}

/// Takes a tuple of two tensors apart.
pub(super) fn pair(value: OwnedValue) -> (TensorBuf, TensorBuf) {
    let Value::Tuple { items, .. } = value else {
        panic!("{value:?} is no tuple");
    };
    match <[_; 2]>::try_from(items).unwrap() {
        [Value::Tensor(first), Value::Tensor(second)] => (first, second),
        other => panic!("{other:?}"),
    }
}

fn workspace() -> TensorBuf {
    trial::byte_tensor(&[8], &[0; 8])
}
