//! From the annotated item to what takes its place.

use proc_macro2::TokenStream;
use quote::quote;
use syn::visit::Visit;
use syn::{AttrStyle, Error, Ident, Item, ItemFn, Result, Signature};

use crate::block::{record_block, without_options};
use crate::call::{Call, Class, Role, Subject, check_kind};
use crate::options::{Choice, Options, Place};
use crate::recorded::record;
use crate::replay::replay_function;

/// Whether recording is compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Calls are recorded.
    Record,
    /// The options are checked, the functions stay as they are.
    Leave,
}

/// Expands the attribute. What cannot be recorded stays as it is, beside the error: one error, not many.
pub(crate) fn expand(options: TokenStream, item: TokenStream, mode: Mode) -> TokenStream {
    let parsed = match syn::parse2(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => return error.into_compile_error(),
    };
    try_expand(options, &parsed, mode).unwrap_or_else(|error| {
        let error = error.into_compile_error();
        let item = if let Item::Impl(block) = parsed { without_options(block) } else { item };
        quote!(#error #item)
    })
}

fn try_expand(options: TokenStream, item: &Item, mode: Mode) -> Result<TokenStream> {
    match item {
        Item::Fn(function) => record_function(&Options::parse(Place::Function, options)?, function, mode),
        Item::Impl(block) => record_block(&Options::parse(Place::Block, options)?, block, mode),
        Item::Trait(item) => {
            let message =
                "a trait's methods are recorded where they are implemented: annotate the `impl` block";
            Err(Error::new(item.trait_token.span, message))
        }
        other => {
            let message = "expected a function with a body, or an `impl` block";
            Err(Error::new_spanned(other, message))
        }
    }
}

fn record_function(options: &Options, function: &ItemFn, mode: Mode) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block } = function;
    let call = Call::new(sig, subject(options, sig)?, options)?;
    let recorded = match mode {
        Mode::Record => {
            let outer = attrs.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Outer));
            let (signature, block) = record(&call, attrs, block);
            quote!(#(#outer)* #vis #signature #block)
        }
        Mode::Leave => quote!(#function),
    };
    let replay = match options.replay {
        Some(span) if options.class.is_some() => {
            let message = "methods are replayed with their class: annotate the `impl` block";
            return Err(Error::new(span, message));
        }
        Some(_) => Some(replay_function(&call, vis)?),
        None => None,
    };
    Ok(quote!(#recorded #replay))
}

fn subject(options: &Options, signature: &Signature) -> Result<Subject> {
    // What is wrong with the kind of function is said before what is wrong with its place.
    check_kind(signature)?;
    if let Some(Choice::All(span)) = &options.skip {
        return Err(Error::new(*span, "expected `skip(parameter)`"));
    }
    let function = match &options.name {
        Some(name) => name.value(),
        None => plain_name(&signature.ident),
    };
    let class = options.class.as_ref().map(|class| Class { name: class.value(), id: options.id.clone() });
    let (name, role) = match (class, signature.receiver()) {
        (Some(class), Some(_)) => (format!("{}.{function}", class.name), Role::Method(class)),
        (Some(class), None) => (format!("{}.{function}", class.name), Role::Function),
        (None, None) if !mentions(signature, "Self") => (function, Role::Function),
        (None, _) => {
            let message = "a method is recorded under the name of its class: annotate the `impl` block with \
                           `#[record]`, or say `#[record(class = \"Name\")]` here";
            return Err(Error::new(signature.ident.span(), message));
        }
    };
    if let (Some(id), Role::Function) = (&options.id, &role) {
        let message = "`id` names a field of a method's object, and there is no object here";
        return Err(Error::new_spanned(id, message));
    }
    let (module, facade) = (options.module.clone(), options.facade());
    Ok(Subject { name, module, facade, errors: None, role })
}

/// Spells an identifier as records do, without `r#`.
pub(crate) fn plain_name(ident: &Ident) -> String {
    syn::ext::IdentExt::unraw(ident).to_string()
}

/// Tells whether a signature mentions a type by its bare name.
pub(crate) fn mentions(signature: &Signature, name: &str) -> bool {
    struct Search<'a> {
        name: &'a str,
        found: bool,
    }
    impl<'ast> Visit<'ast> for Search<'_> {
        fn visit_ident(&mut self, ident: &'ast Ident) {
            self.found |= ident == self.name;
        }
    }

    let mut search = Search { name, found: false };
    search.visit_signature(signature);
    search.found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of an item when recording is not compiled in.
    fn left(options: &str, item: &str) -> String {
        let tokens = |text: &str| text.parse::<TokenStream>().unwrap();
        expand(tokens(options), tokens(item), Mode::Leave).to_string()
    }

    #[test]
    fn without_recording_an_item_stays_as_it_is() {
        for (options, item) in [
            (
                "",
                "# [inline] pub fn f (mut x : u8 , (a , b) : (u8 , u8)) -> Result < u8 > { Ok (x + a + b) }",
            ),
            ("kwargs(eps), errors(debug)", "pub unsafe fn f < T : Send > (eps : T) where T : Sync { }"),
            ("id = id", "impl < T > Block < T > { pub fn run (& self) { } fn private () { } }"),
        ] {
            let expected: TokenStream = item.parse().unwrap();
            assert_eq!(left(options, item), expected.to_string());
        }
    }

    #[test]
    fn without_recording_the_options_of_methods_are_gone() {
        let expected: TokenStream = "impl A { # [inline] pub fn f (& self) { } }".parse().unwrap();
        assert_eq!(
            left("", "impl A { #[record(skip_result)] #[inline] pub fn f(&self) {} }"),
            expected.to_string()
        );
    }

    #[test]
    fn without_recording_the_options_are_checked_all_the_same() {
        for (options, item) in [("kwargs(x)", "fn f() {}"), ("quiet", "fn f() {}"), ("", "async fn f() {}")] {
            assert!(left(options, item).contains("compile_error"), "{options} {item}");
        }
    }
}
