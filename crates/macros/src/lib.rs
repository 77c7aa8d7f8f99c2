#![doc = include_str!("../README.md")]

mod expand;
mod options;

mod block;
mod call;
mod recorded;
mod replay;

mod borrowing;
mod hygiene;
mod parameters;
mod signature_text;

use proc_macro::TokenStream;

use self::expand::{Mode, expand};

#[doc = include_str!("record.md")]
#[proc_macro_attribute]
pub fn record(options: TokenStream, item: TokenStream) -> TokenStream {
    let mode = if cfg!(feature = "max-level-off") { Mode::Leave } else { Mode::Record };
    expand(options.into(), item.into(), mode).into()
}
