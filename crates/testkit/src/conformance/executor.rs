use callbox_core::{Arguments, ExecError, Executor, FunctionName, OwnedValue, Value};

/// What the suite needs to know of an executor: one function and one class that it has.
#[derive(Debug)]
pub struct ExecutorCase {
    /// A function with at least one required argument.
    pub function: FunctionName,
    /// The constructor of a class, with at least one required argument.
    pub constructor: FunctionName,
    /// Arguments that the constructor takes.
    pub arguments: Arguments,
    /// A method of the class.
    pub method: FunctionName,
}

/// Checks what every executor must do.
///
/// # Panics
///
/// Where the executor breaks a promise of its port.
pub fn executor(executor: &mut dyn Executor, case: ExecutorCase) {
    for known in [&case.function, &case.constructor, &case.method] {
        assert!(executor.contract(known).is_some(), "{known} has a contract");
    }
    what_is_unknown_is_refused(executor);
    arguments_that_do_not_fit_are_named(executor, &case);
    methods_need_their_object(executor, case);
}

fn what_is_unknown_is_refused(executor: &mut dyn Executor) {
    let unknown = FunctionName::new("no.such.module", "no_such_function");
    assert!(executor.contract(&unknown).is_none(), "an unknown function has no contract");
    let answer = executor.call(&unknown, &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::NoExecutor(_))), "an unknown function is refused: {answer:?}");
    let answer = executor.construct(&unknown, &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::NoExecutor(_))), "an unknown class is refused: {answer:?}");
}

fn arguments_that_do_not_fit_are_named(executor: &mut dyn Executor, case: &ExecutorCase) {
    let ExecutorCase { function, constructor, .. } = case;
    let answer = executor.call(function, &mut Arguments::default());
    assert!(
        matches!(answer, Err(ExecError::MissingArgument(_))),
        "{function} names what it lacks: {answer:?}"
    );
    let answer = executor.construct(constructor, &mut Arguments::default());
    assert!(
        matches!(answer, Err(ExecError::MissingArgument(_))),
        "{constructor} names what it lacks: {answer:?}"
    );
    let unexpected: (String, OwnedValue) = ("no_such_argument".to_owned(), Value::None);
    let mut arguments = Arguments { positional: Vec::new(), keyword: vec![unexpected] };
    let answer = executor.call(function, &mut arguments);
    assert!(
        matches!(&answer, Err(ExecError::UnexpectedArgument(name)) if name == "no_such_argument"),
        "an unknown argument is named: {answer:?}"
    );
}

fn methods_need_their_object(executor: &mut dyn Executor, case: ExecutorCase) {
    let ExecutorCase { constructor, mut arguments, method, .. } = case;
    let answer = executor.call(&method, &mut Arguments::default());
    assert!(
        matches!(answer, Err(ExecError::NotConstructed(_))),
        "{method} is no function without its object: {answer:?}"
    );
    let mut object = executor.construct(&constructor, &mut arguments).expect("the object can be built");
    let answer = object.call("no_such_method", &mut Arguments::default());
    assert!(matches!(answer, Err(ExecError::NoExecutor(_))), "an unknown method is refused: {answer:?}");
}
