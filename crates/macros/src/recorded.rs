//! The recorded function: the body once, and what happens before and after it.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{
    AttrStyle, Attribute, Block, Error, FnArg, Ident, LitStr, Member, Pat, Path, Receiver, Result, ReturnType,
    Signature, Type, parse_quote,
};

use crate::borrowing::{closure_result, is_result, optional};
use crate::options::{Errors, Options};
use crate::parameters::{Parameter, Recorded, parameters};
use crate::signature_text::signature_text;

/// What is recorded of a function beside its arguments.
pub(crate) struct Subject {
    /// `function` or `ClassName.method`.
    pub(crate) name: String,
    /// The module's name, where it is not that of the place.
    pub(crate) module: Option<LitStr>,
    /// Path of the facade.
    pub(crate) facade: Path,
    /// How errors are told, where the function itself does not say.
    pub(crate) errors: Option<Errors>,
    /// What the function is.
    pub(crate) role: Role,
}

/// What a function is.
#[derive(Clone)]
pub(crate) enum Role {
    /// No method, no constructor.
    Function,
    /// Called on an object.
    Method(Class),
    /// Makes an object.
    Constructor(Class),
}

/// A class and how its objects are told apart.
#[derive(Clone)]
pub(crate) struct Class {
    /// Its name in records.
    pub(crate) name: String,
    /// The field of type `ObjectId`.
    pub(crate) id: Option<Member>,
}

impl Subject {
    /// Returns the position of the first argument: behind the object.
    pub(crate) fn first_position(&self) -> usize {
        match self.role {
            Role::Function => 0,
            Role::Method(_) | Role::Constructor(_) => 1,
        }
    }

    /// Returns the module as an expression.
    pub(crate) fn module(&self) -> TokenStream {
        self.module.as_ref().map_or_else(|| quote!(::core::module_path!()), |module| quote!(#module))
    }
}

/// Refuses functions that cannot be recorded, and says why.
pub(crate) fn check_kind(signature: &Signature) -> Result<()> {
    if let Some(token) = &signature.asyncness {
        let message = "an async function returns before its body has run: record the functions that it calls";
        return Err(Error::new(token.span(), message));
    }
    if let Some(token) = &signature.constness {
        let message = "a const function may run in the compiler, where nothing can be recorded: \
                       drop `const`, or leave it out";
        return Err(Error::new(token.span(), message));
    }
    Ok(())
}

/// The names that an expansion gives. They are of the macro's own scope: no name of the function's is hidden.
struct Names {
    call: Ident,
    id: Ident,
    body: Ident,
    result: Ident,
    arguments: Ident,
}

impl Names {
    fn new() -> Names {
        let name = |text: &str| Ident::new(text, Span::mixed_site());
        Names {
            call: name("call"),
            id: name("id"),
            body: name("body"),
            result: name("result"),
            arguments: name("arguments"),
        }
    }
}

/// Rewrites a function: its signature's parameters get names, and its body records.
///
/// Returns what stands in the place of its block.
pub(crate) fn record(
    attributes: &[Attribute],
    signature: &mut Signature,
    block: &Block,
    subject: &Subject,
    options: &Options,
) -> Result<TokenStream> {
    check_kind(signature)?;
    let parameters = parameters(signature, options, subject.first_position())?;
    let text = signature_text(signature);
    rename(signature, &parameters);

    let facade = &subject.facade;
    let support = quote!(#facade::macro_support);
    let (module, function) = (subject.module(), &subject.name);
    let names = Names::new();
    let Names { call, body, .. } = &names;
    let inner = attributes.iter().filter(|attribute| matches!(attribute.style, AttrStyle::Inner(_)));
    let begin = begin(&support, &names, signature.receiver(), &parameters, &subject.role);
    let closure = closure(&support, &parameters, &signature.output, block);
    let (begun, run) = match &subject.role {
        Role::Function | Role::Method(_) => (quote!(#call), quote!(#call.run(#body))),
        Role::Constructor(Class { id: None, .. }) => (quote!(#call), quote!(#call.run(#body))),
        Role::Constructor(Class { id: Some(_), .. }) => {
            let id = &names.id;
            let construct = quote!(#support::ObjectId::construct::<Self, _>(#id, #body));
            (quote!((#id, #call)), quote!(#call.run(|| #construct)))
        }
    };
    let end = end(&support, &names, &signature.output, &parameters, subject, options, &run);
    Ok(quote! {{
        #(#inner)*
        static __CALLBOX_CALLSITE: #support::Callsite = #support::Callsite::new(#module, #function, #text);
        let #call = #begin;
        let #body = #closure;
        match #call {
            ::core::option::Option::None => #body(),
            ::core::option::Option::Some(#begun) => { #end }
        }
    }})
}

/// Gives parameters with patterns a name, and takes `mut` from those that are borrowed again.
fn rename(signature: &mut Signature, parameters: &[Parameter]) {
    let typed = signature.inputs.iter_mut().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    for (typed, parameter) in typed.zip(parameters) {
        let name = &parameter.name;
        *typed.pat = match (reborrow(parameter), parameter.mutability) {
            (Some(Reborrow::Option), _) => parse_quote!(mut #name),
            (Some(Reborrow::Reference), _) | (None, None) => Pat::Ident(syn::PatIdent {
                attrs: Vec::new(),
                by_ref: None,
                mutability: None,
                ident: name.clone(),
                subpat: None,
            }),
            (None, Some(mutability)) => parse_quote!(#mutability #name),
        };
    }
}

/// How an argument that is written is lent to the body, so that it can be recorded afterwards.
enum Reborrow {
    /// `&mut T`.
    Reference,
    /// `Option<&mut T>`.
    Option,
}

fn reborrow(parameter: &Parameter) -> Option<Reborrow> {
    let is_mutable = |ty: &Type| matches!(ty, Type::Reference(reference) if reference.mutability.is_some());
    match &parameter.ty {
        _ if !parameter.is_written => None,
        ty if is_mutable(ty) => Some(Reborrow::Reference),
        ty if optional(ty).is_some_and(is_mutable) => Some(Reborrow::Option),
        _ => None,
    }
}

/// The body as a closure.
///
/// It takes its arguments by `move`, since it may return something made of them. Mutable references are lent, and
/// come back. Another argument that is written, a handle or a view by value, must outlive the call to be recorded
/// after it, so there the closure borrows what it does not use up.
fn closure(support: &TokenStream, parameters: &[Parameter], output: &ReturnType, block: &Block) -> TokenStream {
    let lent = parameters.iter().filter_map(|parameter| {
        let (mutability, name) = (&parameter.mutability, &parameter.name);
        reborrow(parameter).map(|reborrow| match reborrow {
            Reborrow::Reference => quote!(let #mutability #name = &mut *#name;),
            Reborrow::Option => quote!(let #mutability #name = #name.as_deref_mut();),
        })
    });
    let keeps = |parameter: &Parameter| {
        let is_reference = matches!(parameter.ty, Type::Reference(_));
        parameter.is_written && reborrow(parameter).is_none() && !is_reference
    };
    let by_move = if parameters.iter().any(keeps) { quote!() } else { quote!(move) };
    let patterns = parameters.iter().filter_map(|parameter| {
        let name = &parameter.name;
        parameter.pattern.as_ref().map(|pattern| quote!(let #pattern = #name;))
    });
    let patterns: TokenStream = patterns.collect();
    let body = if patterns.is_empty() { quote!(#block) } else { quote!({ #patterns #block }) };
    let result = closure_result(output);
    quote!({ #(#lent)* #support::body(#by_move || -> #result #body) })
}

/// Begins the call, if anything is recorded at all.
fn begin(
    support: &TokenStream,
    names: &Names,
    receiver: Option<&Receiver>,
    parameters: &[Parameter],
    role: &Role,
) -> TokenStream {
    let Names { id, arguments, .. } = names;
    let positional = values(support, parameters, |recorded| matches!(recorded, Recorded::Positional(_)));
    let positional: Vec<_> = positional.map(|(_, value)| value).collect();
    let keyword = values(support, parameters, |recorded| recorded == Recorded::Keyword);
    let keyword: Vec<_> = keyword.map(|(label, value)| quote!((#label, #value))).collect();
    let start = match role {
        Role::Function => quote!(#support::LiveArguments::default()),
        Role::Method(Class { name, id: None }) => {
            let object = object(receiver);
            quote!(#support::of_address(#name, #object))
        }
        Role::Method(Class { name, id: Some(field) }) => {
            let this = receiver.map(|receiver| &receiver.self_token);
            quote!(#support::LiveArguments::of_object(#name, #support::ObjectId::get(&#this.#field)))
        }
        Role::Constructor(Class { name, id: None }) => quote!(#support::of_unborn(#name)),
        Role::Constructor(Class { name, id: Some(_) }) => {
            quote!(#support::LiveArguments::of_object(#name, #id))
        }
    };
    let describe = if positional.is_empty() && keyword.is_empty() {
        quote!(#start)
    } else {
        let positional = (!positional.is_empty()).then(|| quote!(#arguments.positional.extend([#(#positional),*]);));
        let keyword = (!keyword.is_empty()).then(|| quote!(#arguments.keyword.extend([#(#keyword),*]);));
        quote!({ let mut #arguments = #start; #positional #keyword #arguments })
    };
    let begin = quote!(#support::begin(&__CALLBOX_CALLSITE, &mut || #describe));
    let begin = match role {
        Role::Constructor(Class { id: Some(_), .. }) => quote! {
            let #id = #support::ObjectId::next();
            #begin.map(|call| (#id, call))
        },
        Role::Function | Role::Method(_) | Role::Constructor(Class { id: None, .. }) => begin,
    };
    quote!(if #support::enabled() { #begin } else { ::core::option::Option::None })
}

/// The object itself, borrowed: behind whatever pointer it comes.
fn object(receiver: Option<&Receiver>) -> TokenStream {
    let Some(receiver) = receiver else { return quote!(&()) };
    let this = &receiver.self_token;
    let is_itself = receiver.reference.is_none() && matches!(&*receiver.ty, Type::Path(path) if path.path.is_ident("Self"));
    if is_itself { quote!(&#this) } else { quote!(&*#this) }
}

/// Label and value of those arguments that are recorded in one of the two ways.
fn values<'a>(
    support: &'a TokenStream,
    parameters: &'a [Parameter],
    choose: impl Fn(Recorded) -> bool + 'a,
) -> impl Iterator<Item = (&'a Option<String>, TokenStream)> {
    let chosen = parameters.iter().filter(move |parameter| parameter.recorded.is_some_and(&choose));
    chosen.map(move |parameter| (&parameter.label, value(support, parameter)))
}

/// The value of an argument. An error about its type points at the type.
fn value(support: &TokenStream, parameter: &Parameter) -> TokenStream {
    let name = &parameter.name;
    let span = Span::mixed_site().located_at(parameter.ty.span());
    let to_value = quote_spanned!(span=> ToValue::to_value);
    quote_spanned!(span=> #support::#to_value(&#name))
}

/// Runs the body and ends the call.
fn end(
    support: &TokenStream,
    names: &Names,
    output: &ReturnType,
    parameters: &[Parameter],
    subject: &Subject,
    options: &Options,
    run: &TokenStream,
) -> TokenStream {
    let Names { call, result, .. } = names;
    if matches!(output, ReturnType::Type(_, ty) if matches!(**ty, Type::Never(_))) {
        return quote!(#run.0);
    }
    let written = parameters.iter().filter(|parameter| parameter.is_written).map(|parameter| {
        let value = value(support, parameter);
        let place = match parameter.recorded {
            Some(Recorded::Positional(position)) => quote!(Positional(#position)),
            Some(Recorded::Keyword) | None => {
                let label = &parameter.label;
                quote!(Keyword(#label))
            }
        };
        quote!((#support::ArgumentPlace::#place, #value))
    });
    let value = result_value(support, result, output, subject, options);
    quote! {
        let (#result, #call) = #run;
        #call.end(|| ::core::result::Result::Ok(#support::LiveResult {
            value: #value,
            written: ::std::vec![#(#written),*],
        }));
        #result
    }
}

/// The result as a value; an error goes out of the closure by `?`.
fn result_value(
    support: &TokenStream,
    result: &Ident,
    output: &ReturnType,
    subject: &Subject,
    options: &Options,
) -> TokenStream {
    let ty = match output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => Some(&**ty),
    };
    let span = Span::mixed_site().located_at(ty.map_or_else(Span::call_site, |ty| ty.span()));
    let errors = options.errors.or(subject.errors);
    let is_constructor = matches!(subject.role, Role::Constructor(_));
    let describe = match (options.skip_result, is_constructor) {
        (true, _) => Some(format_ident!("not_recorded", span = span)),
        (false, true) => Some(format_ident!("constructed", span = span)),
        (false, false) => None,
    };
    let Some(describe) = describe else {
        return match errors.filter(|_| options.errors.is_some() || ty.is_some_and(is_result)) {
            None | Some(Errors::Display) => quote_spanned!(span=> #support::Returned::returned(&#result)?),
            Some(Errors::Debug) => quote_spanned!(span=> #support::returned_debug(&#result)?),
            Some(Errors::Opaque) => quote_spanned! {span=>
                #support::ToValue::to_value(#result.as_ref().map_err(#support::error_opaque)?)
            },
        };
    };
    if options.errors.is_none() && !ty.is_some_and(is_result) {
        return quote!(#support::#describe(&#result));
    }
    let error = match errors {
        None | Some(Errors::Display) => quote!(error_display),
        Some(Errors::Debug) => quote!(error_debug),
        Some(Errors::Opaque) => quote!(error_opaque),
    };
    quote_spanned!(span=> #support::#describe(#result.as_ref().map_err(#support::#error)?))
}
