//! Free functions.

use std::fmt;

use callbox::record;
use callbox_core::{Level, LiveValue, Value};
use callbox_values::ToValue;

use crate::memory_log::{at, check};

#[record]
fn scale(x: &[i32], factor: i32) -> Vec<i32> {
    x.iter().map(|x| x * factor).collect()
}

#[test]
fn arguments_are_recorded_by_position_and_the_result_after_them() {
    check(|| scale(&[1, 2], 3), &["functions.scale arg_0=[1, 2] arg_1=3", "-> [3, 6]"]);
}

#[test]
fn a_module_and_a_name_can_be_given() {
    #[record(module = "flashinfer.norm", name = "rmsnorm")]
    fn anything() {}
    check(anything, &["flashinfer.norm.rmsnorm", "-> None"]);
}

#[test]
fn some_or_all_arguments_are_recorded_by_name() {
    #[record(kwargs(eps, backend))]
    fn norm(x: i32, eps: f64, backend: &str) -> (i32, usize) {
        (x + eps as i32, backend.len())
    }
    check(
        || norm(1, 0.5, "cpu"),
        &["functions.norm arg_0=1 kwarg_eps=0.5 kwarg_backend=\"cpu\"", "-> (1, 3)"],
    );

    #[record(kwargs)]
    fn all(r#type: u8, n: u8) -> u8 {
        r#type + n
    }
    check(|| all(1, 2), &["functions.all kwarg_type=1 kwarg_n=2", "-> 3"]);
}

#[test]
fn positions_count_what_is_recorded() {
    struct Context(i32);
    #[record(skip(context))]
    fn add(context: &Context, x: i32) -> i32 {
        context.0 + x
    }
    check(|| add(&Context(1), 2), &["functions.add arg_0=2", "-> 3"]);
}

#[test]
fn what_is_behind_a_mutable_reference_is_recorded_again() {
    #[record]
    fn fill(out: &mut [i32], value: i32) {
        out.fill(value);
    }
    let mut out = [0; 2];
    check(|| fill(&mut out, 7), &["functions.fill arg_0=[0, 0] arg_1=7", "-> None arg_0=[7, 7]"]);

    #[record(kwargs(out))]
    fn add(x: i32, mut out: Option<&mut i32>) -> i32 {
        if let Some(out) = &mut out {
            **out += x;
        }
        out.map_or(0, |out| *out)
    }
    let mut total = 1;
    check(|| add(2, Some(&mut total)), &["functions.add arg_0=2 kwarg_out=1", "-> 3 kwarg_out=3"]);
    check(|| add(2, None), &["functions.add arg_0=2 kwarg_out=None", "-> 0 kwarg_out=None"]);
}

#[test]
fn a_mutable_reference_may_be_used_up_assigned_and_read_only() {
    #[record]
    fn drain(mut items: &mut Vec<i32>, other: &mut Vec<i32>) -> i32 {
        if items.is_empty() {
            items = other;
        }
        std::mem::take(items).into_iter().sum()
    }
    let (mut first, mut second) = (vec![1], vec![2]);
    check(
        || drain(&mut first, &mut second),
        &["functions.drain arg_0=[1] arg_1=[2]", "-> 1 arg_0=[] arg_1=[2]"],
    );

    #[record(reads(x))]
    fn peek(x: &mut i32) -> i32 {
        *x
    }
    check(|| peek(&mut 4), &["functions.peek arg_0=4", "-> 4"]);
}

#[test]
fn a_result_may_borrow_from_what_could_have_been_written() {
    #[record]
    fn first(x: &mut [i32]) -> Option<&mut i32> {
        x.first_mut()
    }
    #[record]
    fn second<'a>(x: &'a mut [i32], y: &mut i32) -> &'a i32 {
        *y = 1;
        &x[1]
    }
    check(|| *first(&mut [1, 2]).unwrap(), &["functions.first arg_0=[1, 2]", "-> 1"]);
    check(|| *second(&mut [1, 2], &mut 0), &["functions.second arg_0=[1, 2] arg_1=0", "-> 2 arg_1=1"]);
}

#[test]
fn handles_and_views_can_be_written_too() {
    struct Handle(std::cell::Cell<i32>);
    impl ToValue for Handle {
        fn to_value(&self) -> LiveValue<'_> {
            Value::int(self.0.get().into())
        }
    }
    #[record(writes(by_reference, by_value))]
    fn set(by_reference: &Handle, mut by_value: Box<[i32]>, label: String) -> String {
        by_reference.0.set(1);
        by_value[0] = 2;
        label
    }
    check(
        || set(&Handle(0.into()), Box::new([0]), "done".to_owned()),
        &["functions.set arg_0=0 arg_1=[0] arg_2=\"done\"", "-> \"done\" arg_0=1 arg_1=[2]"],
    );
}

#[test]
fn parameters_may_be_patterns() {
    #[record]
    fn spread((a, ref b): (u8, String), _: u8, [c, ..]: [u8; 2], whole @ (d, _): (u8, u8)) -> String {
        format!("{a}{b}{c}{d}{}", whole.1)
    }
    check(
        || spread((1, "b".to_owned()), 0, [2, 3], (4, 5)),
        &["functions.spread arg_0=(1, \"b\") arg_1=0 arg_2=[2, 3] arg_3=(4, 5)", "-> \"1b245\""],
    );
}

#[derive(Debug)]
struct OutOfPages;

impl fmt::Display for OutOfPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of pages")
    }
}

type Result<T, E = OutOfPages> = std::result::Result<T, E>;

#[test]
fn an_error_is_recorded_as_one() {
    #[record]
    fn pages(fail: bool) -> Result<u8> {
        if fail {
            Err(OutOfPages)?
        }
        Ok(1)
    }
    check(|| pages(false), &["functions.pages arg_0=false", "-> 1"]).unwrap();
    check(|| pages(true), &["functions.pages arg_0=true", "error all::functions::OutOfPages: out of pages"])
        .unwrap_err();
}

#[test]
fn errors_without_display_and_results_without_value_are_recorded_as_far_as_they_can_be() {
    #[derive(Debug)]
    struct Failure;
    struct Silent;
    struct NoValue;

    #[record(errors(debug))]
    fn debug() -> Result<u8, Failure> {
        Err(Failure)
    }
    #[record(errors(opaque))]
    fn opaque(fail: bool) -> Result<u8, Silent> {
        if fail { Err(Silent) } else { Ok(1) }
    }
    #[record(skip_result)]
    fn no_value() -> NoValue {
        NoValue
    }
    #[record(skip_result, errors(debug))]
    fn neither(fail: bool) -> std::result::Result<NoValue, Failure> {
        if fail { Err(Failure) } else { Ok(NoValue) }
    }
    let name =
        |name: &str| format!("error {}", std::any::type_name_of_val(&Failure).replace("Failure", name));
    check(|| debug().is_err(), &["functions.debug", &format!("{}: Failure", name("Failure"))]);
    check(
        || opaque(true).is_err(),
        &["functions.opaque arg_0=true", &format!("{}: <not recorded>", name("Silent"))],
    );
    check(|| opaque(false).is_ok(), &["functions.opaque arg_0=false", "-> 1"]);
    check(
        || {
            no_value();
        },
        &["functions.no_value", "-> <not recorded>"],
    );
    check(
        || neither(true).is_err(),
        &["functions.neither arg_0=true", &format!("{}: Failure", name("Failure"))],
    );
    check(|| neither(false).is_ok(), &["functions.neither arg_0=false", "-> <not recorded>"]);
}

#[test]
fn recorded_functions_call_recorded_functions() {
    #[record]
    fn outer(n: u8) -> u8 {
        if n == 0 { 0 } else { outer(n - 1) + 1 }
    }
    check(|| outer(1), &["functions.outer arg_0=1", "functions.outer arg_0=0", "-> 0", "-> 1"]);
}

#[test]
fn level_1_names_the_function_and_looks_at_no_value() {
    struct Untouchable;
    impl ToValue for Untouchable {
        fn to_value(&self) -> LiveValue<'_> {
            panic!("nobody needs the value")
        }
    }
    #[record]
    fn pass(x: Untouchable) -> Untouchable {
        x
    }
    let (_, lines) = at(Level::Names, || pass(Untouchable));
    assert_eq!(lines, ["all.functions.pass"]);
}
