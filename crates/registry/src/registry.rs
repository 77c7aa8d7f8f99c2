//! The table of functions and classes.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use callbox_core::{
    Arguments, Callsite, Contract, Device, ExecError, Executor, FunctionName, Instance, OwnedValue,
};

/// Something that can be put into a table: what `#[record(replay)]` makes of a function, or a class.
///
/// A function is named by a type of its own name, which the attribute makes beside it.
pub trait Replayable {
    /// Adds the function, or the class with all its methods.
    fn register(registry: &mut Registry);
}

/// A class whose objects can be rebuilt and called.
pub trait ReplayClass: Clone + Send + Sized + 'static {
    /// Builds an object from the arguments of a constructor, which goes by its name in the record.
    fn construct(arguments: &mut Arguments) -> Result<Self, ExecError>;
    /// Calls a method by its name without the class.
    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError>;
}

type CallFn = fn(&mut Arguments) -> Result<OwnedValue, ExecError>;
type ConstructFn = fn(&mut Arguments) -> Result<Box<dyn Instance>, ExecError>;

/// Runs an application's own functions, by the names that they were recorded under.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: HashMap<FunctionName, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    contract: Contract,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    Function(CallFn),
    Constructor(ConstructFn),
    /// The object runs it.
    Method,
}

/// Builds a [`Registry`] from the names of functions and classes.
///
/// Each has to be annotated with `#[record(replay)]`: without `replay` a function's name is no type, and the compiler
/// says so.
///
/// ```
/// # use callbox_registry::{Registry, Replayable};
/// # struct Double;
/// # impl Replayable for Double { fn register(_: &mut Registry) {} }
/// let registry = callbox_registry::registry![Double];
/// ```
#[macro_export]
macro_rules! registry {
    ($($item:ty),* $(,)?) => { $crate::Registry::new()$(.with::<$item>())* };
}

impl Registry {
    /// Returns an empty table.
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a function or a class.
    #[must_use]
    pub fn with<T: Replayable>(mut self) -> Registry {
        T::register(&mut self);
        self
    }

    /// Adds a function.
    pub fn function(&mut self, callsite: &Callsite, contract: Contract, call: CallFn) {
        self.add(callsite, contract, Run::Function(call));
    }

    /// Adds the constructor of a class.
    pub fn constructor<T: ReplayClass>(&mut self, callsite: &Callsite, contract: Contract) {
        let construct: ConstructFn = |arguments| Ok(Box::new(Object(T::construct(arguments)?)));
        self.add(callsite, contract, Run::Constructor(construct));
    }

    /// Adds a method of a class.
    pub fn method(&mut self, callsite: &Callsite, contract: Contract) {
        self.add(callsite, contract, Run::Method);
    }

    fn add(&mut self, callsite: &Callsite, contract: Contract, run: Run) {
        self.entries.insert(callsite.function().clone(), Entry { contract, run });
    }

    fn find(&self, function: &FunctionName) -> Result<Entry, ExecError> {
        self.entries.get(function).copied().ok_or_else(|| ExecError::NoExecutor(function.clone()))
    }
}

impl Executor for Registry {
    fn device(&self) -> Device {
        Device::Cpu
    }

    fn contract(&self, function: &FunctionName) -> Option<Contract> {
        self.entries.get(function).map(|entry| entry.contract)
    }

    fn call(&mut self, function: &FunctionName, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        match self.find(function)?.run {
            Run::Function(call) => call(arguments),
            Run::Constructor(_) | Run::Method => Err(ExecError::NotConstructed(function.to_string())),
        }
    }

    fn construct(
        &mut self,
        constructor: &FunctionName,
        arguments: &mut Arguments,
    ) -> Result<Box<dyn Instance>, ExecError> {
        match self.find(constructor)?.run {
            Run::Constructor(construct) => construct(arguments),
            Run::Function(_) | Run::Method => Err(ExecError::NoExecutor(constructor.clone())),
        }
    }
}

/// An object of the application.
struct Object<T>(T);

impl<T: ReplayClass> Instance for Object<T> {
    fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
        self.0.call(method, arguments)
    }

    fn duplicate(&self) -> Box<dyn Instance> {
        Box::new(Object(self.0.clone()))
    }
}

/// Shows the class: an application's objects need not show themselves.
impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?})", PhantomData::<T>)
    }
}

#[cfg(test)]
mod tests {
    use callbox_core::{ArgumentPlace, Value};

    use super::*;
    use crate::arguments::{Recorded, put, result, take};

    static FILL: Callsite = Callsite::new("engine", "fill", "(out: &mut Vec<i64>, x: i64)");
    static NEW: Callsite = Callsite::new("engine", "Adder.__init__", "(step: i64)");
    static ADD: Callsite = Callsite::new("engine", "Adder.add", "(&mut self, x: i64)");

    const FIRST: Recorded = Recorded { name: "first", place: ArgumentPlace::Positional(0) };
    const X: Recorded = Recorded { name: "x", place: ArgumentPlace::Keyword("x") };

    struct Fill;

    impl Replayable for Fill {
        fn register(registry: &mut Registry) {
            registry.function(&FILL, Contract { writes: &["out"], ..Contract::default() }, |arguments| {
                let mut out: Vec<i64> = take(arguments, FIRST)?;
                out.fill(take(arguments, X)?);
                put(arguments, FIRST, &out)?;
                result(&())
            });
        }
    }

    #[derive(Clone)]
    struct Adder(i64);

    impl ReplayClass for Adder {
        fn construct(arguments: &mut Arguments) -> Result<Adder, ExecError> {
            Ok(Adder(take(arguments, FIRST)?))
        }

        fn call(&mut self, method: &str, arguments: &mut Arguments) -> Result<OwnedValue, ExecError> {
            match method {
                "add" => {
                    let x: i64 = take(arguments, FIRST)?;
                    self.0 += x;
                    result(&if self.0 < 100 { Ok(self.0) } else { Err("too many") })
                }
                other => Err(ExecError::NoExecutor(FunctionName::new("engine", format!("Adder.{other}")))),
            }
        }
    }

    impl Replayable for Adder {
        fn register(registry: &mut Registry) {
            registry.constructor::<Adder>(&NEW, Contract::default());
            registry.method(&ADD, Contract::default());
        }
    }

    fn positional(values: &[i64]) -> Arguments {
        Arguments { positional: values.iter().map(|value| Value::int(*value)).collect(), keyword: Vec::new() }
    }

    #[test]
    fn a_function_writes_its_arguments_back() {
        let mut registry = Registry::new().with::<Fill>();
        let mut arguments = Arguments {
            positional: vec![Value::List(vec![Value::int(0), Value::int(0)])],
            keyword: vec![("x".to_owned(), Value::int(3))],
        };
        assert_eq!(registry.contract(FILL.function()).unwrap().writes, ["out"]);
        assert!(matches!(registry.call(FILL.function(), &mut arguments), Ok(Value::None)));
        assert!(
            matches!(&arguments.positional[0], Value::List(items) if matches!(&items[1], Value::Int(x) if x.to_string() == "3"))
        );
    }

    #[test]
    fn an_object_keeps_its_state_and_a_copy_has_its_own() {
        let mut registry = Registry::new().with::<Adder>();
        let mut adder = registry.construct(NEW.function(), &mut positional(&[10])).unwrap();
        let mut copy = adder.duplicate();
        let sum = |value: OwnedValue| match value {
            Value::Int(sum) => sum.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(sum(adder.call("add", &mut positional(&[1])).unwrap()), "11");
        assert_eq!(sum(copy.call("add", &mut positional(&[5])).unwrap()), "15");
        let error = adder.call("add", &mut positional(&[99])).unwrap_err();
        assert_eq!(error.to_string(), "an error of its own: too many");
    }

    #[test]
    fn a_name_that_is_not_in_the_table_runs_nothing() {
        let mut registry = Registry::new().with::<Adder>();
        let other = FunctionName::new("os", "system");
        assert!(registry.contract(&other).is_none());
        assert!(matches!(registry.call(&other, &mut positional(&[])), Err(ExecError::NoExecutor(_))));
        assert!(matches!(
            registry.call(ADD.function(), &mut positional(&[])),
            Err(ExecError::NotConstructed(_))
        ));
    }
}
