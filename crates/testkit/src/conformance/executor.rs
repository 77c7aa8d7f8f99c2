use callbox_core::{Arguments, ExecError, Executor, FunctionName, OwnedValue, Value};

/// Checks what every executor must do; `known` is a function with at least one required argument.
///
/// # Panics
///
/// Where the executor breaks a promise of its port.
pub fn executor(executor: &mut dyn Executor, known: &FunctionName) {
    let unknown = FunctionName::new("no.such.module", "no_such_function");
    assert!(executor.contract(&unknown).is_none(), "an unknown function has no contract");
    let answer = executor.call(&unknown, &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::NoExecutor(_))), "an unknown function is refused: {answer:?}");
    let answer = executor.construct(&unknown, &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::NoExecutor(_))), "an unknown class is refused: {answer:?}");

    assert!(executor.contract(known).is_some(), "{known} has a contract");
    let answer = executor.call(known, &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::MissingArgument(_))), "a missing argument is named: {answer:?}");
    let unexpected: (String, OwnedValue) = ("no_such_argument".to_owned(), Value::None);
    let mut arguments = Arguments { positional: Vec::new(), keyword: vec![unexpected] };
    let answer = executor.call(known, &mut arguments);
    assert!(
        matches!(answer, Err(ExecError::UnexpectedArgument(_))),
        "an unknown argument is named: {answer:?}"
    );
    assert_eq!(executor.device(), executor.device(), "the device does not change");
}
