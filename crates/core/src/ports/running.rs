//! What runs recorded calls again.

use std::fmt::Debug;

use crate::arguments::Arguments;
use crate::contract::Contract;
use crate::device::Device;
use crate::error::ExecError;
use crate::name::FunctionName;
use crate::value::OwnedValue;

/// Runs functions by name.
///
/// ```
/// use callbox_core::{
///     Arguments, Contract, DType, Device, ExecError, Executor, FunctionName, Instance, OwnedValue, Signature,
///     TensorBuf, Value,
/// };
///
/// /// Has one function, `twice(x)`.
/// #[derive(Debug)]
/// struct Twice;
///
/// impl Executor for Twice {
///     fn device(&self) -> Device {
///         Device::Cpu
///     }
///     fn contract(&self, function: &FunctionName) -> Option<Contract> {
///         (function.name() == "twice").then(Contract::default)
///     }
///     fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
///         self.contract(function).ok_or_else(|| ExecError::NoExecutor(function.clone()))?;
///         let signature = Signature::parse("x");
///         let bound = arguments.bind(&signature)?;
///         let twice: Vec<f32> = bound.f32s("x")?.iter().map(|x| x * 2.0).collect();
///         TensorBuf::from_f32(DType::Float32, bound.tensor("x")?.shape(), &twice)
///             .map(Value::Tensor)
///             .map_err(|source| ExecError::Elements { argument: "x".to_owned(), source })
///     }
///     fn construct(&mut self, class: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
///         Err(ExecError::NoExecutor(class.clone()))
///     }
/// }
///
/// let x = TensorBuf::from_f32(DType::Float32, &[2], &[1.0, 2.0]).unwrap();
/// let mut arguments = Arguments { positional: vec![Value::Tensor(x)], ..Arguments::default() };
/// let result = Twice.call(&FunctionName::new("app", "twice"), &mut arguments).unwrap();
/// assert!(matches!(result, Value::Tensor(twice) if twice.to_f32().unwrap() == [2.0, 4.0]));
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait Executor: Debug + Send {
    /// Returns the device that calls run on.
    fn device(&self) -> Device;
    /// Describes a function or method; `None`: this executor does not have it.
    fn contract(&self, function: &FunctionName) -> Option<Contract>;
    /// Runs a function. `Ok`: the result, with the arguments written that its contract names.
    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError>;
    /// Builds the object of a class from its constructor's arguments.
    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError>;
}

/// An object with methods, built by [`Executor::construct`].
///
/// ```
/// use callbox_core::{Arguments, ExecError, FunctionName, Instance, OwnedValue, Value};
///
/// /// Counts its calls: `Counter.step()`.
/// #[derive(Clone, Debug, Default)]
/// struct Counter(i64);
///
/// impl Instance for Counter {
///     fn call(&mut self, method: &str, _: &mut Arguments) -> Result<OwnedValue, ExecError> {
///         if method != "step" {
///             return Err(ExecError::NoExecutor(FunctionName::new("app", format!("Counter.{method}"))));
///         }
///         self.0 += 1;
///         Ok(Value::int(self.0))
///     }
///     fn duplicate(&self) -> Box<dyn Instance> {
///         Box::new(self.clone())
///     }
/// }
///
/// let mut counter = Counter::default();
/// counter.duplicate().call("step", &mut Arguments::default()).unwrap();
/// assert_eq!(counter.0, 0);
/// ```
#[cfg_attr(test, mockall::automock)]
pub trait Instance: Debug + Send {
    /// Runs a method. `Ok`: the result; the object's state is as the method leaves it.
    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError>;
    /// Copies the object: what is done to the copy leaves the original as it is.
    fn duplicate(&self) -> Box<dyn Instance>;
}
