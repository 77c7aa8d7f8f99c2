//! Whatever the level, a function does what it did.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};

use callbox::record;
use callbox_core::{Ending, Level, LiveValue, Value};
use callbox_values::ToValue;

use crate::memory_log::{at, check, with_health};

const LEVELS: [Level; 5] = [Level::Off, Level::Names, Level::Values, Level::Statistics, Level::Dumps];

#[record]
fn ends(how: u8) -> Result<Box<u8>, String> {
    match how {
        0 => Ok(Box::new(7)),
        1 => Err("no".to_owned()),
        _ => panic_any(Payload(9)),
    }
}

#[derive(Debug, PartialEq)]
struct Payload(u8);

#[test]
fn results_errors_and_panics_go_through_at_every_level() {
    for level in LEVELS {
        let ((fine, error, panic), _) =
            at(level, || (ends(0), ends(1), catch_unwind(AssertUnwindSafe(|| ends(2))).unwrap_err()));
        assert_eq!((fine, error), (Ok(Box::new(7)), Err("no".to_owned())), "{level:?}");
        assert_eq!(*panic.downcast::<Payload>().unwrap(), Payload(9), "{level:?}");
    }
}

#[test]
fn a_panic_is_recorded() {
    #[record]
    fn out_of_range(index: u8) -> u8 {
        panic!("index {index} is out of range")
    }
    check(
        || catch_unwind(|| out_of_range(3)).unwrap_err(),
        &["unchanged.out_of_range arg_0=3", "panic String: index 3 is out of range"],
    );
}

#[test]
fn a_value_that_panics_while_it_is_described_costs_its_record_alone() {
    struct Torn;
    impl ToValue for Torn {
        fn to_value(&self) -> LiveValue<'_> {
            panic!("torn")
        }
    }
    #[record]
    fn torn_argument(_x: Torn) -> u8 {
        5
    }
    #[record]
    fn torn_result() -> Torn {
        Torn
    }
    let (result, _, health) = with_health(Level::Values, || {
        torn_result();
        torn_argument(Torn)
    });
    assert_eq!((result, health.count(Ending::NotRecorded)), (5, 2));
}

#[test]
fn values_are_let_go_before_the_body_runs() {
    struct Locked(std::cell::RefCell<i32>);
    impl ToValue for Locked {
        fn to_value(&self) -> LiveValue<'_> {
            Value::int((*self.0.borrow()).into())
        }
    }
    #[record(writes(x))]
    fn add(x: &Locked) {
        *x.0.borrow_mut() += 1;
    }
    check(|| add(&Locked(1.into())), &["unchanged.add arg_0=1", "-> None arg_0=2"]);
}

/// Every kind of function, with all lints on.
mod kinds {
    #![deny(warnings, clippy::all, clippy::pedantic)]

    use std::fmt::Debug;

    use callbox::{ToValue, record};

    use super::check;

    /// Has a doc comment.
    #[record]
    #[inline]
    #[must_use]
    pub(crate) fn documented(mut n: u8) -> u8 {
        n += 1;
        if n > 9 {
            return 0;
        }
        n
    }

    #[record]
    fn generic<'a, T, const N: usize>(x: &'a [T; N], y: impl ToValue + Debug) -> Vec<&'a T>
    where
        T: ToValue + PartialEq,
    {
        drop(y);
        x.iter().filter(|item| **item == x[0]).collect()
    }

    #[record(skip(x))]
    unsafe fn careful(x: *const u8, _y: ()) -> u8 {
        // SAFETY: the caller's pointer is one to a byte.
        #[expect(unsafe_code, reason = "an unsafe function is to be annotated")]
        unsafe {
            *x
        }
    }

    #[record]
    extern "C" fn foreign(x: i32) -> i32 {
        x
    }

    #[record(skip_result)]
    fn opaque(x: &[u8]) -> impl Iterator<Item = u8> {
        x.iter().map(|x| x + 1)
    }

    #[record]
    fn question(x: &str) -> Result<impl ToValue + use<>, std::num::ParseIntError> {
        let x: i32 = x.parse()?;
        Ok(x)
    }

    #[record]
    fn shadows(call: u8, body: u8, result: u8, id: u8, arguments: u8) -> u8 {
        let body = body + call;
        body + result + id + arguments
    }

    #[record]
    fn never(x: u8) -> ! {
        panic!("{x}")
    }

    macro_rules! function {
        ($name:ident, $x:ident) => {
            #[record]
            fn $name($x: u8, y: u8) -> u8 {
                $x + y
            }
        };
    }
    function!(from_a_macro, x);

    #[test]
    fn every_kind_of_function_can_be_recorded() {
        check(|| documented(1), &["unchanged.kinds.documented arg_0=1", "-> 2"]);
        check(
            || generic(&[1, 2, 1], "y"),
            &["unchanged.kinds.generic arg_0=[1, 2, 1] arg_1=\"y\"", "-> [1, 1]"],
        );
        #[expect(unsafe_code, reason = "the function is unsafe")]
        // SAFETY: the pointer is one to a byte.
        let careful = || unsafe { careful([5].as_ptr(), ()) };
        check(careful, &["unchanged.kinds.careful arg_0=None", "-> 5"]);
        check(|| foreign(3), &["unchanged.kinds.foreign arg_0=3", "-> 3"]);
        check(|| opaque(&[1]).count(), &["unchanged.kinds.opaque arg_0=[1]", "-> <not recorded>"]);
        check(|| question("12").is_ok(), &["unchanged.kinds.question arg_0=\"12\"", "-> 12"]);
        check(
            || shadows(1, 2, 3, 4, 5),
            &["unchanged.kinds.shadows arg_0=1 arg_1=2 arg_2=3 arg_3=4 arg_4=5", "-> 15"],
        );
        check(|| from_a_macro(1, 2), &["unchanged.kinds.from_a_macro arg_0=1 arg_1=2", "-> 3"]);
        check(
            || std::panic::catch_unwind(|| never(1)).is_err(),
            &["unchanged.kinds.never arg_0=1", "panic String: 1"],
        );
    }
}
