//! The recorded function: the body once, and what happens before and after it.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned as _;
use syn::{AttrStyle, Attribute, Block, FnArg, Ident, Pat, PatIdent, Receiver, Signature, Type, parse_quote};

use crate::borrowing::{closure_result, optional};
use crate::call::{Call, Class, Role};
use crate::hygiene::hygienic;
use crate::parameters::{Parameter, Recorded};

/// Returns the signature, its parameters named, and what stands in the place of the block.
pub(crate) fn record(call: &Call<'_>, attributes: &[Attribute], block: &Block) -> (Signature, TokenStream) {
    let inner = attributes.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Inner(_)));
    // Items have no scope of the macro's own: the body sees this name.
    let callsite = call.callsite(&callsite());
    let (begin, body, end) = (begin(call), body(call, block), end(call));
    let begun = match &call.subject.role {
        Role::Constructor(Class { id: Some(_), .. }) => hygienic!((id, call)),
        Role::Function | Role::Method(_) | Role::Constructor(Class { id: None, .. }) => hygienic!(call),
    };
    // Braces that a function needs, a closure may not.
    let quiet = hygienic!(allow(unused_braces));
    let block = hygienic! {{
        #(#inner)*
        #callsite
        let call = #begin;
        #[#quiet]
        let body = #body;
        match call {
            ::core::option::Option::None => body(),
            ::core::option::Option::Some(#begun) => { #end }
        }
    }};
    (named(call), block)
}

fn callsite() -> Ident {
    Ident::new("__CALLBOX_CALLSITE", Span::mixed_site())
}

/// Gives parameters with patterns a name, and takes `mut` from those that are lent to the body.
fn named(call: &Call<'_>) -> Signature {
    let mut signature = call.signature.clone();
    let typed = signature.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    for (typed, parameter) in typed.zip(&call.parameters) {
        let mutability = match lent(parameter) {
            Some(Lent::Reference) => None,
            Some(Lent::Option) => Some(parse_quote!(mut)),
            None => parameter.mutability,
        };
        let ident = parameter.name.clone();
        *typed.pat =
            Pat::Ident(PatIdent { attrs: Vec::new(), by_ref: None, mutability, ident, subpat: None });
    }
    signature
}

/// How an argument that is written is lent to the body, so that it can be recorded afterwards.
enum Lent {
    /// `&mut T`.
    Reference,
    /// `Option<&mut T>`.
    Option,
}

fn lent(parameter: &Parameter) -> Option<Lent> {
    let is_mutable = |ty: &Type| matches!(ty, Type::Reference(reference) if reference.mutability.is_some());
    match &parameter.ty {
        _ if !parameter.is_written => None,
        ty if is_mutable(ty) => Some(Lent::Reference),
        ty if optional(ty).is_some_and(is_mutable) => Some(Lent::Option),
        _ => None,
    }
}

/// The body as a closure.
///
/// It takes its arguments by `move`, since it may return something made of them. Mutable references are lent, and
/// come back. Another argument that is written, a handle or a view by value, must outlive the call to be recorded
/// after it, so there the closure borrows what it does not use up.
fn body(call: &Call<'_>, block: &Block) -> TokenStream {
    let (support, parameters) = (call.support(), &call.parameters);
    let lend = parameters.iter().filter_map(|parameter| {
        let (mutability, name) = (&parameter.mutability, &parameter.name);
        lent(parameter).map(|lent| match lent {
            Lent::Reference => hygienic!(let #mutability #name = &mut *#name;),
            Lent::Option => hygienic!(let #mutability #name = #name.as_deref_mut();),
        })
    });
    let stays = |parameter: &Parameter| {
        let is_reference = matches!(parameter.ty, Type::Reference(_));
        parameter.is_written && lent(parameter).is_none() && !is_reference
    };
    let by_move = (!parameters.iter().any(stays)).then(|| hygienic!(move));
    // A parameter may be named as unused, a variable may not.
    let quiet = hygienic!(allow(clippy::no_effect_underscore_binding));
    let patterns = parameters.iter().filter_map(|parameter| {
        let name = &parameter.name;
        parameter.pattern.as_ref().map(|pattern| hygienic!(#[#quiet] let #pattern = #name;))
    });
    let patterns: TokenStream = patterns.collect();
    let body = if patterns.is_empty() { hygienic!(#block) } else { hygienic!({ #patterns #block }) };
    let result = closure_result(&call.signature.output);
    hygienic!({ #(#lend)* #support::body(#by_move || -> #result #body) })
}

/// Begins the call, if anything is recorded at all.
fn begin(call: &Call<'_>) -> TokenStream {
    let (support, callsite) = (call.support(), callsite());
    let positional: Vec<_> =
        values(call, |recorded| recorded != Recorded::Keyword).map(|(_, value)| value).collect();
    let keyword: Vec<_> = values(call, |recorded| recorded == Recorded::Keyword)
        .map(|(label, value)| hygienic!((#label, #value)))
        .collect();
    let start = first_arguments(call);
    let describe = if positional.is_empty() && keyword.is_empty() {
        start
    } else {
        let add_positional =
            (!positional.is_empty()).then(|| hygienic!(arguments.positional.extend([#(#positional),*]);));
        let add_keyword =
            (!keyword.is_empty()).then(|| hygienic!(arguments.keyword.extend([#(#keyword),*]);));
        hygienic!({ let mut arguments = #start; #add_positional #add_keyword arguments })
    };
    let begin = hygienic!(#support::begin(&#callsite, &mut || #describe));
    let begin = match &call.subject.role {
        Role::Constructor(Class { id: Some(_), .. }) => hygienic! {
            let id = #support::ObjectId::next();
            #begin.map(|call| (id, call))
        },
        Role::Function | Role::Method(_) | Role::Constructor(Class { id: None, .. }) => begin,
    };
    hygienic!(if #support::enabled() { #begin } else { ::core::option::Option::None })
}

/// The object, where there is one or will be one.
fn first_arguments(call: &Call<'_>) -> TokenStream {
    let (support, receiver) = (call.support(), call.signature.receiver());
    match &call.subject.role {
        Role::Function => hygienic!(#support::LiveArguments::default()),
        Role::Method(Class { name, id: None }) => {
            let object = receiver.map(object);
            hygienic!(#support::of_address(#name, #object))
        }
        Role::Method(Class { name, id: Some(field) }) => {
            let this = receiver.map(|receiver| &receiver.self_token);
            let span = Span::mixed_site().located_at(field.span());
            let id = quote_spanned!(span=> #support::ObjectId::get(&#this.#field));
            hygienic!(#support::LiveArguments::of_object(#name, #id))
        }
        Role::Constructor(Class { name, id: None }) => hygienic!(#support::of_unborn(#name)),
        Role::Constructor(Class { name, id: Some(_) }) => {
            hygienic!(#support::LiveArguments::of_object(#name, id))
        }
    }
}

/// The object itself, borrowed: behind whatever pointer it comes.
fn object(receiver: &Receiver) -> TokenStream {
    let this = &receiver.self_token;
    let is_self = |ty: &Type| matches!(ty, Type::Path(path) if path.path.is_ident("Self"));
    let is_itself = receiver.reference.is_none() && is_self(&receiver.ty);
    if is_itself { hygienic!(&#this) } else { hygienic!(&*#this) }
}

/// Label and value of those arguments that are recorded in one of the two ways.
fn values<'a>(
    call: &'a Call<'_>,
    choose: impl Fn(Recorded) -> bool + 'a,
) -> impl Iterator<Item = (&'a Option<String>, TokenStream)> {
    let chosen = call.parameters.iter().filter(move |parameter| parameter.recorded.is_some_and(&choose));
    chosen.map(|parameter| (&parameter.label, value(call, parameter)))
}

/// The value of an argument. An error about its type points at the type.
fn value(call: &Call<'_>, parameter: &Parameter) -> TokenStream {
    let (support, name) = (call.support(), &parameter.name);
    let span = Span::mixed_site().located_at(parameter.ty.span());
    let to_value = quote_spanned!(span=> ToValue::to_value);
    quote_spanned!(span=> #support::#to_value(&#name))
}

/// Runs the body and ends the call.
fn end(call: &Call<'_>) -> TokenStream {
    let support = call.support();
    let run = match &call.subject.role {
        Role::Constructor(Class { id: Some(_), .. }) => {
            hygienic!(call.run(|| #support::ObjectId::construct::<Self, _>(id, body)))
        }
        Role::Function | Role::Method(_) | Role::Constructor(Class { id: None, .. }) => {
            hygienic!(call.run(body))
        }
    };
    if matches!(call.result_type(), Some(Type::Never(_))) {
        return hygienic!(#run.0);
    }
    let written = call.parameters.iter().filter(|parameter| parameter.is_written).map(|parameter| {
        let (place, value) = (parameter.place(0), value(call, parameter));
        hygienic!((#support::ArgumentPlace::#place, #value))
    });
    let value = call.result_value();
    hygienic! {
        let (result, call) = #run;
        call.end(|| ::core::result::Result::Ok(#support::LiveResult {
            value: #value,
            written: ::std::vec![#(#written),*],
        }));
        result
    }
}
