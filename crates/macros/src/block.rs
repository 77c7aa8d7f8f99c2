//! Annotated `impl` blocks: methods, constructors, associated functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    AttrStyle, Attribute, Error, ImplItem, ImplItemFn, ItemImpl, Meta, Result, ReturnType, Type, Visibility,
};

use crate::call::{Call, Class, Role, Subject};
use crate::expand::{Mode, mentions, plain_name};
use crate::options::{Choice, Options, Place};
use crate::parameters::combined;
use crate::recorded::record;
use crate::replay::{check_class, replay_class};

/// Records the methods of a block: all public ones of a type's own, all of a trait's, and those with an attribute.
pub(crate) fn record_block(options: &Options, block: &ItemImpl, mode: Mode) -> Result<TokenStream> {
    let class = Class { name: class_name(options, &block.self_ty)?, id: options.id.clone() };
    check_constructors(options, block, &class)?;
    let (mut block, mut own_options, mut errors) = (block.clone(), Vec::new(), Vec::new());
    let is_of_trait = block.trait_.is_some();
    for (place, item) in block.items.iter_mut().enumerate() {
        let ImplItem::Fn(method) = item else { continue };
        match take_options(method) {
            Ok(Some(Options { skip: Some(Choice::All(_)), .. })) => {}
            Ok(Some(own)) => own_options.push((place, own)),
            Ok(None) if is_of_trait || matches!(method.vis, Visibility::Public(_)) => {
                own_options.push((place, Options::default()));
            }
            Ok(None) => {}
            Err(error) => errors.push(error),
        }
    }
    let mut calls = Vec::new();
    for (place, own) in &own_options {
        let ImplItem::Fn(method) = &block.items[*place] else { continue };
        match method_call(options, own, &class, method) {
            Ok(call) => calls.push((*place, method, call)),
            Err(error) => errors.push(error),
        }
    }
    combined(errors)?;
    let replay = replay(options, &block, &class, &calls)?;
    let mut items = block.items.clone();
    if mode == Mode::Record {
        for (place, method, call) in &calls {
            items[*place] = ImplItem::Verbatim(recorded_method(method, call));
        }
    }
    block.items = items;
    Ok(quote!(#block #replay))
}

/// A method, its place in the block, and how it is recorded.
type MethodCall<'a> = (usize, &'a ImplItemFn, Call<'a>);

fn recorded_method(method: &ImplItemFn, call: &Call<'_>) -> TokenStream {
    let ImplItemFn { attrs, vis, defaultness, block, .. } = method;
    let outer = attrs.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Outer));
    let (signature, block) = record(call, attrs, block);
    quote!(#(#outer)* #vis #defaultness #signature #block)
}

fn replay(
    options: &Options,
    block: &ItemImpl,
    class: &Class,
    calls: &[MethodCall<'_>],
) -> Result<Option<TokenStream>> {
    let Some(span) = options.replay else { return Ok(None) };
    if block.trait_.is_some() {
        let message = "a class is replayed by its own block, the one that makes it";
        return Err(Error::new(span, message));
    }
    if class.id.is_none() {
        let message = "a replay has to know which object a method is called on: say `id = field`";
        return Err(Error::new(span, message));
    }
    check_class(&block.generics)?;
    let calls: Vec<&Call<'_>> = calls.iter().map(|(_, _, call)| call).collect();
    replay_class(&block.self_ty, &class.name, &calls, span).map(Some)
}

/// Takes the options of methods away.
pub(crate) fn without_options(mut block: ItemImpl) -> TokenStream {
    for item in &mut block.items {
        if let ImplItem::Fn(method) = item {
            method.attrs.retain(|attribute| !is_ours(attribute));
        }
    }
    quote!(#block)
}

fn method_call<'a>(
    options: &Options,
    own: &'a Options,
    class: &Class,
    method: &'a ImplItemFn,
) -> Result<Call<'a>> {
    let role = role(options, class, method);
    let name = match (&role, &own.name) {
        (Role::Constructor(_), None) => "__init__".to_owned(),
        (Role::Constructor(_), Some(name)) => {
            let message = "a constructor is recorded as `__init__`, whatever its name";
            return Err(Error::new(name.span(), message));
        }
        (Role::Function | Role::Method(_), Some(name)) => name.value(),
        (Role::Function | Role::Method(_), None) => plain_name(&method.sig.ident),
    };
    let subject = Subject {
        name: format!("{}.{name}", class.name),
        module: options.module.clone(),
        facade: options.facade(),
        errors: options.errors,
        role,
    };
    Call::new(&method.sig, subject, own).map_err(|error| with_way_out(error, own))
}

/// Adds how to leave a method out.
fn with_way_out(error: Error, own: &Options) -> Error {
    let is_of_options =
        own.kwargs.is_some() || own.skip.is_some() || !own.writes.is_empty() || !own.reads.is_empty();
    if is_of_options {
        return error;
    }
    Error::new(error.span(), format!("{error}; `#[record(skip)]` leaves the method out"))
}

fn role(options: &Options, class: &Class, method: &ImplItemFn) -> Role {
    if method.sig.receiver().is_some() {
        return Role::Method(class.clone());
    }
    let is_constructor = match &options.constructors {
        Some(names) => names.contains(&method.sig.ident),
        None => method.sig.ident == "new",
    };
    if is_constructor && makes_object(method, class) {
        Role::Constructor(class.clone())
    } else {
        Role::Function
    }
}

fn makes_object(method: &ImplItemFn, class: &Class) -> bool {
    let mut signature = method.sig.clone();
    signature.inputs.clear();
    matches!(signature.output, ReturnType::Type(..))
        && (mentions(&signature, "Self") || mentions(&signature, &class.name))
}

/// Every name in `constructor(..)` is that of a function that makes an object.
fn check_constructors(options: &Options, block: &ItemImpl, class: &Class) -> Result<()> {
    let wrong = options.constructors.iter().flatten().filter_map(|name| {
        let method = block.items.iter().find_map(|item| match item {
            ImplItem::Fn(method) if method.sig.ident == *name => Some(method),
            _ => None,
        });
        let message = match method {
            None => format!("`constructor` names `{name}`, and the block has no such function"),
            Some(method) if method.sig.receiver().is_some() => {
                format!("`{name}` takes `self`: it is no constructor")
            }
            Some(method) if !makes_object(method, class) => {
                format!("`{name}` does not return `Self`: it is no constructor")
            }
            Some(_) => return None,
        };
        Some(Error::new(name.span(), message))
    });
    combined(wrong.collect())
}

/// Returns the last segment of the type's path.
fn class_name(options: &Options, ty: &Type) -> Result<String> {
    if let Some(class) = &options.class {
        return Ok(class.value());
    }
    match ty {
        Type::Path(path) => path.path.segments.last().map(|segment| plain_name(&segment.ident)),
        Type::Group(group) => return class_name(options, &group.elem),
        _ => None,
    }
    .ok_or_else(|| Error::new_spanned(ty, "this type has no name: say `#[record(class = \"Name\")]`"))
}

/// Takes a method's own attribute away and reads its options.
fn take_options(method: &mut ImplItemFn) -> Result<Option<Options>> {
    let ours: Vec<Attribute> = method.attrs.extract_if(.., |attribute| is_ours(attribute)).collect();
    match ours.as_slice() {
        [] => Ok(None),
        [attribute] => {
            let tokens = match &attribute.meta {
                Meta::Path(_) => TokenStream::new(),
                Meta::List(list) => list.tokens.clone(),
                Meta::NameValue(_) => {
                    return Err(Error::new_spanned(attribute, "expected `#[record]` or `#[record(..)]`"));
                }
            };
            Options::parse(Place::Method, tokens).map(Some)
        }
        [_, second, ..] => Err(Error::new_spanned(second, "a method takes one `#[record(..)]`")),
    }
}

fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "record")
}
