//! Enumerations, which records know by class, member and value.

use callbox_core::{LiveValue, Value};

/// Builds a member of an enumeration: its name as `Class.MEMBER`, and the value behind it.
///
/// [`record_enum!`](crate::record_enum) does this, and the way back, for enums without fields. By hand it serves
/// those with fields:
///
/// ```
/// use callbox_values::{LiveValue, ToValue, enum_member};
///
/// enum Mask {
///     Causal,
///     Window(usize),
/// }
///
/// impl ToValue for Mask {
///     fn to_value(&self) -> LiveValue<'_> {
///         match self {
///             Mask::Causal => enum_member("Mask.CAUSAL", ().to_value()),
///             Mask::Window(size) => enum_member("Mask.WINDOW", size.to_value()),
///         }
///     }
/// }
/// # assert_eq!(Mask::Window(3).to_value().type_name(), "Mask.WINDOW");
/// # assert_eq!(Mask::Causal.to_value().type_name(), "Mask.CAUSAL");
/// ```
pub fn enum_member<'a>(name: &str, value: LiveValue<'a>) -> LiveValue<'a> {
    Value::Enum { name: name.to_owned(), value: Box::new(value) }
}

/// Makes an enum without fields recordable, and readable from a dump.
///
/// Each variant gets the member's name and the constant behind it, as a Python enumeration has them. On the way
/// back the name decides.
///
/// ```
/// use callbox_values::{FromValue, ToValue, record_enum, to_owned_value};
///
/// #[derive(Debug, PartialEq)]
/// enum Mode {
///     Fast,
///     Exact,
/// }
///
/// record_enum! {
///     Mode {
///         Fast => ("FAST", 0),
///         Exact => ("EXACT", 1),
///     }
/// }
///
/// let value = Mode::Exact.to_value();
/// assert_eq!(value.type_name(), "Mode.EXACT");
/// let owned = to_owned_value(&value).expect("nothing to read from a device");
/// assert_eq!(Mode::from_value(owned)?, Mode::Exact);
/// # Ok::<(), callbox_values::FromValueError>(())
/// ```
#[macro_export]
macro_rules! record_enum {
    ($class:ident { $($variant:ident => ($member:literal, $value:expr)),+ $(,)? }) => {
        impl $crate::ToValue for $class {
            fn to_value(&self) -> $crate::LiveValue<'_> {
                match self {
                    $(Self::$variant => $crate::enum_member(
                        ::core::concat!(::core::stringify!($class), ".", $member),
                        $crate::ToValue::to_value(&$value),
                    ),)+
                }
            }
        }

        impl $crate::FromValue for $class {
            fn from_value(value: $crate::OwnedValue) -> ::core::result::Result<Self, $crate::FromValueError> {
                let $crate::Value::Enum { name, .. } = value else {
                    return ::core::result::Result::Err($crate::FromValueError::kind(
                        ::core::concat!("a member of ", ::core::stringify!($class)),
                        &value,
                    ));
                };
                match name.as_str() {
                    $(::core::concat!(::core::stringify!($class), ".", $member) => {
                        ::core::result::Result::Ok(Self::$variant)
                    })+
                    _ => ::core::result::Result::Err($crate::FromValueError::Text {
                        wanted: ::core::concat!("member of ", ::core::stringify!($class)),
                        text: name,
                    }),
                }
            }
        }
    };
}
