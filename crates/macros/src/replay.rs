//! What a registry of replayable functions needs: calls with the arguments of a dump.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, GenericParam, Generics, Ident, Receiver, Result, Type, TypeReference, Visibility};

use crate::borrowing::{is_result, optional};
use crate::call::{Call, Role};
use crate::hygiene::hygienic;
use crate::parameters::{Parameter, combined};

/// Makes a type of the function's own name, which stands for it in a registry.
pub(crate) fn replay_function(call: &Call<'_>, visibility: &Visibility) -> Result<TokenStream> {
    let support = call.support();
    let name = &call.signature.ident;
    let register = register_function(call, &hygienic!(#name))?;
    // A type with the name of a function, that has no values.
    let quiet = hygienic!(allow(
        non_camel_case_types,
        missing_debug_implementations,
        missing_copy_implementations,
        dead_code,
        unreachable_pub
    ));
    Ok(hygienic! {
        #[doc(hidden)]
        #[#quiet]
        #visibility enum #name {}

        impl #support::Replayable for #name {
            fn register(registry: &mut #support::Registry) {
                #register
            }
        }
    })
}

/// Implements the traits of a class: its constructor, its methods, and its other functions.
pub(crate) fn replay_class(
    class: &Type,
    class_name: &str,
    calls: &[&Call<'_>],
    span: Span,
) -> Result<TokenStream> {
    let constructors: Vec<_> =
        calls.iter().filter(|call| matches!(call.subject.role, Role::Constructor(_))).collect();
    let [constructor] = constructors.as_slice() else {
        let message = format!(
            "to be replayed, a class has one constructor; this block has {}: see the option `constructor`",
            constructors.len()
        );
        return Err(Error::new(span, message));
    };
    let support = constructor.support();
    let construct = construct(constructor, class_name)?;
    let (mut registrations, mut arms, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for call in calls.iter().filter(|call| !call.options.no_replay) {
        match entry(call) {
            Ok((registration, arm)) => {
                registrations.push(registration);
                arms.extend(arm);
            }
            Err(error) => errors.push(error),
        }
    }
    combined(errors)?;
    let module = constructor.module();
    let unknown = hygienic! {
        ::core::result::Result::Err(#support::ExecError::NoExecutor(#support::FunctionName::new(
            #module.replace("::", "."),
            ::std::format!("{}.{method}", #class_name),
        )))
    };
    Ok(hygienic! {
        impl #support::Replayable for #class {
            fn register(registry: &mut #support::Registry) {
                #({ #registrations })*
            }
        }

        impl #support::ReplayClass for #class {
            fn construct(
                arguments: &mut #support::Arguments,
            ) -> ::core::result::Result<Self, #support::ExecError> {
                #construct
            }

            fn call(
                &mut self,
                method: &::core::primitive::str,
                arguments: &mut #support::Arguments,
            ) -> ::core::result::Result<#support::OwnedValue, #support::ExecError> {
                match method {
                    #(#arms)*
                    _ => #unknown,
                }
            }
        }
    })
}

/// The lines that put a function into the registry, and the arm that calls a method.
fn entry(call: &Call<'_>) -> Result<(TokenStream, Option<TokenStream>)> {
    let support = call.support();
    let callsite = Ident::new("CALLSITE", Span::mixed_site());
    let describe = call.callsite(&callsite);
    let contract = contract(call);
    match &call.subject.role {
        Role::Function => {
            let name = &call.signature.ident;
            Ok((register_function(call, &hygienic!(Self::#name))?, None))
        }
        Role::Constructor(_) => {
            Ok((hygienic!(#describe registry.constructor::<Self>(&#callsite, #contract);), None))
        }
        Role::Method(class) => {
            let name = &call.signature.ident;
            let method = call.subject.name.strip_prefix(&format!("{}.", class.name));
            let object = object(call.signature.receiver())?;
            let run = run(call, &hygienic!(#object.#name))?;
            let finish = finish(call, &support);
            Ok((
                hygienic!(#describe registry.method(&#callsite, #contract);),
                Some(hygienic!(#method => { #run #finish })),
            ))
        }
    }
}

fn register_function(call: &Call<'_>, function: &TokenStream) -> Result<TokenStream> {
    let support = call.support();
    let callsite = Ident::new("CALLSITE", Span::mixed_site());
    let (describe, contract) = (call.callsite(&callsite), contract(call));
    let (run, finish) = (run(call, function)?, finish(call, &support));
    Ok(hygienic! {
        #describe
        registry.function(&#callsite, #contract, |arguments| { #run #finish });
    })
}

/// Which arguments the function writes.
fn contract(call: &Call<'_>) -> TokenStream {
    let support = call.support();
    let written = call.parameters.iter().filter(|parameter| parameter.is_written);
    let labels = written.map(|parameter| parameter.label.as_deref().unwrap_or("_"));
    hygienic!(#support::Contract { writes: &[#(#labels),*], ..::core::default::Default::default() })
}

/// The object as the method takes it.
fn object(receiver: Option<&Receiver>) -> Result<TokenStream> {
    match receiver {
        Some(receiver) if receiver.colon_token.is_some() => {
            let message =
                "a replay has `self`, `&self` and `&mut self` only: `no_replay` leaves the method out";
            Err(Error::new(receiver.ty.span(), message))
        }
        Some(receiver) if receiver.reference.is_none() => Ok(hygienic!(::core::clone::Clone::clone(self))),
        Some(_) | None => Ok(hygienic!(self)),
    }
}

/// Takes the arguments and calls the function; the result is in `result`.
fn run(call: &Call<'_>, function: &TokenStream) -> Result<TokenStream> {
    check_generics(&call.signature.generics)?;
    if let Some(token) = &call.signature.unsafety {
        let message = "a dump cannot promise what an unsafe function asks of its caller";
        return Err(Error::new(token.span(), message));
    }
    let support = call.support();
    let (mut take, mut given) = (Vec::new(), Vec::new());
    for (place, parameter) in call.parameters.iter().enumerate() {
        if parameter.recorded.is_none() {
            let message = "a replay needs every argument, and this one is skipped";
            return Err(Error::new(parameter.name.span(), message));
        }
        let name = argument(place);
        let owned = Owned::of(&parameter.ty)?;
        if parameter.is_written && matches!(owned.pass, Pass::Value) {
            let message = "what a replay gives by value does not come back: take it by reference";
            return Err(Error::new(parameter.ty.span(), message));
        }
        let recorded = recorded(call, parameter);
        let mutability = owned.is_mutable.then(|| hygienic!(mut));
        let ty = &owned.ty;
        let span = Span::mixed_site().located_at(parameter.ty.span());
        let take_it = quote_spanned!(span=> #support::take::<#ty>);
        take.push(hygienic!(let #mutability #name = #take_it(arguments, #recorded)?;));
        given.push(owned.pass(&name));
    }
    Ok(hygienic!(#(#take)* let result = #function(#(#given),*);))
}

/// Makes the result a value, then puts written arguments back.
fn finish(call: &Call<'_>, support: &TokenStream) -> TokenStream {
    let value = call.result_value();
    let put = call.parameters.iter().enumerate().filter(|(_, parameter)| parameter.is_written);
    let put = put.map(|(place, parameter)| {
        let (name, recorded) = (argument(place), recorded(call, parameter));
        hygienic!(#support::put(arguments, #recorded, &#name)?;)
    });
    hygienic! {
        let returned = || -> ::core::result::Result<_, #support::RecordedError> { ::core::result::Result::Ok(#value) };
        let returned = #support::returned_value(returned())?;
        #(#put)*
        ::core::result::Result::Ok(returned)
    }
}

fn construct(call: &Call<'_>, class_name: &str) -> Result<TokenStream> {
    let support = call.support();
    let name = &call.signature.ident;
    let run = run(call, &hygienic!(Self::#name))?;
    let ty = call.result_type();
    let is_object = |ty: &Type| {
        matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|segment| {
            segment.ident == "Self" || segment.ident == class_name
        }))
    };
    let object = match ty {
        Some(ty) if is_object(ty) => hygienic!(::core::result::Result::Ok(result)),
        Some(ty) if optional(ty).is_some_and(is_object) => hygienic! {
            result.ok_or_else(|| #support::ExecError::Returned("no object".to_owned()))
        },
        Some(ty) if is_result(ty) => {
            let error = call.error_of_result(Span::mixed_site());
            hygienic!(result.map_err(|error| #support::ExecError::Returned(#support::#error(&error).text)))
        }
        _ => {
            let message =
                "a constructor that is replayed returns `Self`, `Result<Self, _>` or `Option<Self>`";
            return Err(Error::new(call.signature.ident.span(), message));
        }
    };
    Ok(hygienic!(#run #object))
}

fn check_generics(generics: &Generics) -> Result<()> {
    let generic = generics.params.iter().find(|parameter| !matches!(parameter, GenericParam::Lifetime(_)));
    generic.map_or(Ok(()), |parameter| {
        Err(Error::new(parameter.span(), "a generic function cannot be replayed: a dump does not name types"))
    })
}

/// Refuses classes that have parameters.
pub(crate) fn check_class(generics: &Generics) -> Result<()> {
    generics.params.first().map_or(Ok(()), |parameter| {
        Err(Error::new(parameter.span(), "a generic class cannot be replayed: a dump does not name types"))
    })
}

fn recorded(call: &Call<'_>, parameter: &Parameter) -> TokenStream {
    let support = call.support();
    let label = parameter.label.as_deref().unwrap_or("_");
    let place = parameter.place(call.subject.role.first_position());
    hygienic!(#support::Recorded { name: #label, place: #support::ArgumentPlace::#place })
}

fn argument(place: usize) -> Ident {
    format_ident!("argument_{place}", span = Span::mixed_site())
}

/// The owned type behind a parameter's, and how it is handed over.
struct Owned {
    ty: TokenStream,
    pass: Pass,
    is_mutable: bool,
}

enum Pass {
    /// As it is.
    Value,
    /// `&x`.
    Reference,
    /// An option of a reference; `true` where the reference is to what the owned type dereferences to.
    Option(bool),
}

impl Owned {
    fn of(ty: &Type) -> Result<Owned> {
        if let Type::Paren(inner) = ty {
            return Owned::of(&inner.elem);
        }
        if let Type::Reference(reference) = ty {
            let (ty, _) = behind(reference)?;
            return Ok(Owned { ty, pass: Pass::Reference, is_mutable: reference.mutability.is_some() });
        }
        if let Some(Type::Reference(reference)) = optional(ty) {
            let (ty, is_unsized) = behind(reference)?;
            let ty = hygienic!(::core::option::Option<#ty>);
            let is_mutable = reference.mutability.is_some();
            return Ok(Owned { ty, pass: Pass::Option(is_unsized), is_mutable });
        }
        if matches!(ty, Type::ImplTrait(_)) {
            return Err(Error::new(
                ty.span(),
                "a generic function cannot be replayed: a dump does not name types",
            ));
        }
        Ok(Owned { ty: hygienic!(#ty), pass: Pass::Value, is_mutable: false })
    }

    fn pass(&self, name: &Ident) -> TokenStream {
        match (&self.pass, self.is_mutable) {
            (Pass::Value, _) => hygienic!(#name),
            (Pass::Reference, false) => hygienic!(&#name),
            (Pass::Reference, true) => hygienic!(&mut #name),
            (Pass::Option(false), false) => hygienic!(#name.as_ref()),
            (Pass::Option(false), true) => hygienic!(#name.as_mut()),
            (Pass::Option(true), false) => hygienic!(#name.as_deref()),
            (Pass::Option(true), true) => hygienic!(#name.as_deref_mut()),
        }
    }
}

/// Returns the owned type of what a reference points to, and whether that is an unsized one.
fn behind(reference: &TypeReference) -> Result<(TokenStream, bool)> {
    match &*reference.elem {
        Type::Slice(slice) => {
            let item = &slice.elem;
            Ok((hygienic!(::std::vec::Vec<#item>), true))
        }
        Type::Path(path) if path.path.is_ident("str") => Ok((hygienic!(::std::string::String), true)),
        Type::TraitObject(_) | Type::ImplTrait(_) => {
            Err(Error::new(reference.elem.span(), "a dump does not name types: this cannot be replayed"))
        }
        ty => Ok((hygienic!(#ty), false)),
    }
}
