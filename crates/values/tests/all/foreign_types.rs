//! Types of an application, with all that the traits promise for them.

use std::fmt;

use callbox_core::{DType, Layout};
use callbox_values::{
    FromValue, FromValueError, LiveValue, OwnedValue, Returned, TensorBuf, TensorView, ToValue, Value,
    record_enum, recorded_error, to_owned_value,
};

/// An engine's tensor: bytes of its own, no trait of ours but the small one.
#[derive(Debug, PartialEq)]
struct Pages {
    bytes: Vec<u8>,
    heads: usize,
}

impl ToValue for Pages {
    fn to_value(&self) -> LiveValue<'_> {
        let layout = Layout::contiguous(&[self.bytes.len() / self.heads, self.heads]).unwrap();
        Value::Tensor(TensorView::new(DType::UInt8, layout, &self.bytes).unwrap())
    }
}

impl FromValue for Pages {
    fn from_value(value: OwnedValue) -> Result<Pages, FromValueError> {
        let tensor = TensorBuf::from_value(value)?;
        match tensor.shape() {
            [_, heads] => Ok(Pages { heads: *heads, bytes: tensor.to_bytes() }),
            shape => Err(FromValueError::Rank { expected: 2, shape: shape.to_vec() }),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Layouts {
    Nhd,
    Hnd,
}

record_enum! {
    Layouts {
        Nhd => ("NHD", "nhd"),
        Hnd => ("HND", "hnd"),
    }
}

/// An error of the application's own; it derives nothing.
struct OutOfPages(usize);

impl fmt::Display for OutOfPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pages too few", self.0)
    }
}

fn pages() -> Pages {
    Pages { bytes: (0..12).collect(), heads: 3 }
}

fn owned(value: &impl ToValue) -> OwnedValue {
    to_owned_value(&value.to_value()).unwrap()
}

#[test]
fn a_foreign_tensor_is_a_value_wherever_it_is_held() {
    let held = (Some(pages()), vec![Box::new(pages())], [&pages()].len());
    let (option, boxed, count) = <(Option<Pages>, Vec<Box<Pages>>, usize)>::from_value(owned(&held)).unwrap();
    assert_eq!((option, boxed, count), (Some(pages()), vec![Box::new(pages())], 1));
}

#[test]
fn results_of_foreign_types_are_results_and_errors_errors() {
    fn shown<R: Returned>(result: R) -> String {
        match result.returned() {
            Ok(value) => value.type_name().to_owned(),
            Err(error) => format!("{} {}: {}", error.kind, error.type_name, error.text),
        }
    }
    assert_eq!(shown(pages()), "Tensor");
    assert_eq!(shown(Ok::<_, OutOfPages>((pages(), 1))), "tuple");
    assert_eq!(shown(Ok::<_, String>(Layouts::Hnd)), "Layouts.HND");
    let failed = shown(Err::<Pages, _>(OutOfPages(3)));
    assert!(failed.starts_with("error ") && failed.ends_with("::OutOfPages: 3 pages too few"), "{failed}");
    let boxed: Result<(), Box<dyn std::error::Error + Send + Sync>> = Err("boxed".into());
    assert!(shown(boxed).ends_with(": boxed"));
}

#[test]
fn an_error_without_display_is_recorded_by_its_debug_text() {
    #[derive(Debug)]
    #[expect(dead_code, reason = "shown by Debug alone")]
    struct Torn(u8);
    let error = recorded_error::<Torn>(format!("{:?}", Torn(1)));
    assert_eq!((error.kind.as_str(), error.text.as_str()), ("error", "Torn(1)"));
    assert!(error.type_name.ends_with("::Torn"), "{}", error.type_name);
}

#[test]
fn a_member_comes_back_by_its_name() {
    for member in [Layouts::Nhd, Layouts::Hnd] {
        assert_eq!(Layouts::from_value(owned(&member)).unwrap(), member);
    }
    let value = owned(&Layouts::Nhd);
    let Value::Enum { name, value } = value else { panic!("{value:?}") };
    assert_eq!((name.as_str(), String::from_value(*value).unwrap().as_str()), ("Layouts.NHD", "nhd"));

    let unknown = Value::Enum { name: "Layouts.DNH".to_owned(), value: Box::new(Value::None) };
    let error = Layouts::from_value(unknown).unwrap_err();
    assert_eq!(error.to_string(), "`Layouts.DNH` is no member of Layouts");
    let error = Layouts::from_value(Value::int(1)).unwrap_err();
    assert_eq!(error.to_string(), "expected a member of Layouts, found a value of type int");
}

#[test]
fn a_value_may_be_chosen_at_run_time() {
    let values: Vec<Box<dyn ToValue>> = vec![Box::new(1u8), Box::new("x"), Box::new(pages())];
    let kinds: Vec<_> = values.iter().map(|value| value.to_value().type_name().to_owned()).collect();
    assert_eq!(kinds, ["int", "str", "Tensor"]);
}
