//! Annotated `impl` blocks: methods, constructors, associated functions.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    AttrStyle, Attribute, Error, ImplItem, ImplItemFn, ItemImpl, Meta, Result, ReturnType, Type, Visibility,
};

use crate::expand::{Mode, mentions, plain_name};
use crate::options::{Choice, Options, Place};
use crate::parameters::combined;
use crate::recorded::{Class, Role, Subject, record};

/// Records the methods of a block: all public ones of a type's own, all of a trait's, and those with an attribute.
pub(crate) fn record_block(options: &Options, mut block: ItemImpl, mode: Mode) -> Result<TokenStream> {
    let class = Class { name: class_name(options, &block.self_ty)?, id: options.id.clone() };
    check_constructors(options, &block, &class)?;
    let is_of_trait = block.trait_.is_some();
    let mut errors = Vec::new();
    for item in &mut block.items {
        let ImplItem::Fn(method) = item else { continue };
        let recorded = take_options(method).and_then(|own| match own {
            Some(Options { skip: Some(Choice::All(_)), .. }) => Ok(None),
            Some(own) => record_method(options, &own, &class, method).map(Some),
            None if is_of_trait || matches!(method.vis, Visibility::Public(_)) => {
                record_method(options, &Options::default(), &class, method).map(Some)
            }
            None => Ok(None),
        });
        match recorded {
            Ok(Some(tokens)) if mode == Mode::Record => *item = ImplItem::Verbatim(tokens),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    combined(errors)?;
    Ok(quote!(#block))
}

fn record_method(
    options: &Options,
    own: &Options,
    class: &Class,
    method: &ImplItemFn,
) -> Result<TokenStream> {
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
    let ImplItemFn { attrs, vis, defaultness, mut sig, block } = method.clone();
    let recorded = record(&attrs, &mut sig, &block, &subject, own).map_err(|error| with_way_out(error, own))?;
    let outer = attrs.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Outer));
    Ok(quote!(#(#outer)* #vis #defaultness #sig #recorded))
}

/// Adds how to leave a method out.
fn with_way_out(error: Error, own: &Options) -> Error {
    let is_of_options = own.kwargs.is_some() || own.skip.is_some() || !own.writes.is_empty() || !own.reads.is_empty();
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
            Some(method) if method.sig.receiver().is_some() => format!("`{name}` takes `self`: it is no constructor"),
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
    let is_ours = |attribute: &Attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "record")
    };
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
