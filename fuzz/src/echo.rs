//! An executor that knows every function and does nothing.

use callbox_core::{
    Arguments, Contract, Device, ExecError, Executor, FunctionName, Instance, OwnedValue, Value,
};

/// Returns the first argument, whatever is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

impl Executor for Echo {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        let nothing = Contract::default();
        // A name decides whether there is something to compare after the call.
        Some(if function.name().contains('w') { Contract { writes: &["out"], ..nothing } } else { nothing })
    }

    fn call(&mut self, _: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        Ok(first(arguments))
    }

    fn construct(&mut self, _: &FunctionName, _: &mut Arguments) -> Result<Box<dyn Instance>, ExecError> {
        Ok(Box::new(Echo))
    }
}

impl Instance for Echo {
    fn call(&mut self, _: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        Ok(first(arguments))
    }

    fn duplicate(&self) -> Box<dyn Instance> {
        Box::new(Echo)
    }
}

fn first(arguments: &Arguments) -> OwnedValue {
    arguments.positional.first().cloned().unwrap_or(Value::None)
}
