//! A function that is recorded: what it is, and what goes into its records.

use proc_macro2::{Span, TokenStream};
use quote::quote_spanned;
use syn::spanned::Spanned as _;
use syn::{Error, Ident, LitStr, Member, Path, Result, ReturnType, Signature, Type};

use crate::borrowing::is_result;
use crate::hygiene::hygienic;
use crate::options::{Errors, Options};
use crate::parameters::{Parameter, parameters};
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

impl Role {
    /// Returns the position of the first argument: behind the object.
    pub(crate) fn first_position(&self) -> usize {
        match self {
            Role::Function => 0,
            Role::Method(_) | Role::Constructor(_) => 1,
        }
    }
}

/// A function and how its calls are recorded.
pub(crate) struct Call<'a> {
    /// What is recorded beside its arguments.
    pub(crate) subject: Subject,
    /// Its options.
    pub(crate) options: &'a Options,
    /// Its signature, as it is written.
    pub(crate) signature: &'a Signature,
    /// Its parameters.
    pub(crate) parameters: Vec<Parameter>,
}

impl<'a> Call<'a> {
    /// Checks that the function can be recorded as the options have it.
    pub(crate) fn new(signature: &'a Signature, subject: Subject, options: &'a Options) -> Result<Call<'a>> {
        check_kind(signature)?;
        let parameters = parameters(signature, options, subject.role.first_position())?;
        Ok(Call { subject, options, signature, parameters })
    }

    /// Returns the path of what an expansion uses.
    pub(crate) fn support(&self) -> TokenStream {
        let facade = &self.subject.facade;
        hygienic!(#facade::macro_support)
    }

    /// Returns the module's name as an expression.
    pub(crate) fn module(&self) -> TokenStream {
        match &self.subject.module {
            Some(module) => hygienic!(#module),
            None => hygienic!(::core::module_path!()),
        }
    }

    /// Returns a `static` of that name that describes the function.
    pub(crate) fn callsite(&self, name: &Ident) -> TokenStream {
        let (support, module, function) = (self.support(), self.module(), &self.subject.name);
        let text = signature_text(self.signature);
        hygienic!(static #name: #support::Callsite = #support::Callsite::new(#module, #function, #text);)
    }

    /// Returns the type of the result; `None` for `()`.
    pub(crate) fn result_type(&self) -> Option<&Type> {
        match &self.signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }

    /// Returns the function that describes an error; `None`: the type itself knows.
    fn describe_error(&self) -> Option<&'static str> {
        let of_result = self.subject.errors.filter(|_| self.result_type().is_some_and(is_result));
        Some(match self.options.errors.or(of_result)? {
            Errors::Display => "error_display",
            Errors::Debug => "error_debug",
            Errors::Opaque => "error_opaque",
        })
    }

    /// Returns the function that describes the error, if the result is a `Result`.
    pub(crate) fn error_of_result(&self, span: Span) -> Option<Ident> {
        let known = self.describe_error();
        let name = known.or_else(|| self.result_type().is_some_and(is_result).then_some("error_display"))?;
        Some(Ident::new(name, span))
    }

    /// The variable `result` as a value; an error goes out of the closure around it by `?`.
    pub(crate) fn result_value(&self) -> TokenStream {
        let support = self.support();
        let span =
            Span::mixed_site().located_at(self.result_type().map_or_else(Span::call_site, |ty| ty.span()));
        let describe = match (self.options.skip_result, &self.subject.role) {
            (true, _) => "not_recorded",
            (false, Role::Constructor(_)) => "constructed",
            (false, Role::Function | Role::Method(_)) => match self.describe_error() {
                None => return quote_spanned!(span=> #support::Returned::returned(&result)?),
                Some(_) => "described",
            },
        };
        let describe = Ident::new(describe, span);
        match self.error_of_result(span) {
            Some(error) => quote_spanned! {span=>
                #support::#describe(result.as_ref().map_err(#support::#error)?)
            },
            None => quote_spanned!(span=> #support::#describe(&result)),
        }
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
                       drop `const`";
        return Err(Error::new(token.span(), message));
    }
    Ok(())
}
