//! From a record back to the function.

use std::fmt;

use callbox::{ObjectId, record, registry};
use callbox_core::{Arguments, ExecError, Executor, FunctionName, Level, OwnedValue, Value};

use crate::memory_log::at;

#[derive(Debug)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

#[expect(clippy::too_many_arguments, reason = "one of every kind")]
#[record(replay, kwargs(name, limit, extra))]
fn every_kind(
    x: &i64,
    y: Option<&i64>,
    items: &[i64],
    (first, second): (u8, u8),
    out: &mut Vec<i64>,
    name: &str,
    limit: Option<&str>,
    extra: Option<&mut [i64]>,
) -> Result<String, Refused> {
    if first > second {
        return Err(Refused);
    }
    out.extend(items.iter().map(|item| item + x + y.copied().unwrap_or_default()));
    if let Some(extra) = extra {
        extra.fill(9);
    }
    Ok(format!("{name}{}", limit.unwrap_or("!")))
}

/// Names of arguments are no names of the expansion.
#[record(replay, errors(debug))]
fn arguments(arguments: i64, registry: i64, result: i64, returned: i64) -> Result<i64, ()> {
    Ok(arguments + registry + result + returned)
}

#[derive(Clone)]
pub(crate) struct Counter {
    id: ObjectId,
    total: i64,
}

#[record(replay, id = id)]
impl Counter {
    pub fn new(start: i64) -> Result<Self, Refused> {
        if start < 0 { Err(Refused) } else { Ok(Counter { id: ObjectId::of::<Self>(), total: start }) }
    }

    #[record(kwargs, name = "plus")]
    pub fn add(&mut self, step: i64) -> i64 {
        self.total += step;
        self.total
    }

    pub fn fill(&self, out: &mut [i64]) {
        out.fill(self.total);
    }

    pub fn into_total(self) -> i64 {
        self.total
    }

    pub fn double(x: i64) -> i64 {
        2 * x
    }

    #[record(no_replay)]
    pub fn shared(self: std::sync::Arc<Self>) -> i64 {
        self.total
    }
}

fn name(function: &str) -> FunctionName {
    FunctionName::new(module_path!().replace("::", "."), function)
}

fn positional<const N: usize>(values: [OwnedValue; N]) -> Arguments {
    Arguments { positional: values.to_vec(), keyword: Vec::new() }
}

fn ints(values: &[i64]) -> OwnedValue {
    Value::List(values.iter().map(|value| Value::int(*value)).collect())
}

#[track_caller]
fn check_value(actual: &OwnedValue, expected: &OwnedValue) {
    assert_eq!(format!("{actual:?}"), format!("{expected:?}"));
}

#[test]
fn arguments_of_every_kind_come_back_and_written_ones_go_back() {
    at(Level::Off, || {
        let mut registry = registry![every_kind];
        let call = |registry: &mut callbox::Registry, pair: [i64; 2], limit: OwnedValue| {
            let mut arguments = positional([
                Value::int(10),
                Value::None,
                ints(&[1, 2]),
                Value::tuple(pair.map(Value::int).to_vec()),
                ints(&[0]),
            ]);
            let keyword = [("extra", ints(&[0, 0])), ("limit", limit), ("name", Value::text("n"))];
            arguments.keyword = keyword.map(|(name, value)| (name.to_owned(), value)).to_vec();
            let result = registry.call(&name("every_kind"), &mut arguments);
            (result, arguments)
        };
        let (result, arguments) = call(&mut registry, [1, 2], Value::text("."));
        check_value(&result.unwrap(), &Value::text("n."));
        check_value(&arguments.positional[4], &ints(&[0, 11, 12]));
        check_value(&arguments.keyword[0].1, &ints(&[9, 9]));
        assert_eq!(registry.contract(&name("every_kind")).unwrap().writes, ["out", "extra"]);

        let (refused, _) = call(&mut registry, [2, 1], Value::None);
        assert_eq!(refused.unwrap_err().to_string(), "an error of its own: refused");
        let (wrong, _) = call(&mut registry, [1, 2], Value::int(1));
        assert!(matches!(wrong.unwrap_err(), ExecError::Argument { argument, .. } if argument == "limit"));
    });
}

#[test]
fn a_function_may_have_names_that_the_expansion_has_too() {
    at(Level::Off, || {
        let four = positional([1, 2, 3, 4].map(Value::int));
        check_value(
            &registry![arguments].call(&name("arguments"), &mut four.clone()).unwrap(),
            &Value::int(10),
        );
    });
}

#[test]
fn an_object_is_built_and_its_methods_are_called() {
    at(Level::Off, || {
        let mut registry = registry![Counter];
        let mut counter =
            registry.construct(&name("Counter.__init__"), &mut positional([Value::int(1)])).unwrap();
        let mut step = positional([]);
        step.keyword = vec![("step".to_owned(), Value::int(4))];
        check_value(&counter.call("plus", &mut step).unwrap(), &Value::int(5));
        let mut out = positional([ints(&[0, 0])]);
        check_value(&counter.call("fill", &mut out).unwrap(), &Value::None);
        check_value(&out.positional[0], &ints(&[5, 5]));
        check_value(&counter.call("into_total", &mut positional([])).unwrap(), &Value::int(5));
        let unknown = counter.call("shared", &mut positional([])).unwrap_err();
        assert_eq!(unknown.to_string(), "no executor for all.replays.Counter.shared");
        assert!(registry.contract(&name("Counter.shared")).is_none());
        check_value(
            &registry.call(&name("Counter.double"), &mut positional([Value::int(4)])).unwrap(),
            &Value::int(8),
        );
        let refused = registry.construct(&name("Counter.__init__"), &mut positional([Value::int(-1)]));
        assert_eq!(refused.unwrap_err().to_string(), "an error of its own: refused");
    });
}
