//! The parameters of a function, and how each is recorded.

use proc_macro2::{Span, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Error, FnArg, Ident, Pat, PatIdent, Result, Signature, Token, Type};

use crate::borrowing::{ResultType, mutable_reference};
use crate::hygiene::hygienic;
use crate::options::{Choice, Options};

/// One parameter; the object of a method is not among them.
pub(crate) struct Parameter {
    /// Its name in the function.
    pub(crate) name: Ident,
    /// Its name in records; `None` where a pattern stands in its place.
    pub(crate) label: Option<String>,
    /// The pattern that takes it apart.
    pub(crate) pattern: Option<Pat>,
    /// The function may assign to it.
    pub(crate) mutability: Option<Token![mut]>,
    /// Its type.
    pub(crate) ty: Type,
    /// How it is recorded; `None`: not at all.
    pub(crate) recorded: Option<Recorded>,
    /// It is recorded again after the call.
    pub(crate) is_written: bool,
}

/// Where an argument stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// `arg_<i>`.
    Positional(usize),
    /// `kwarg_<name>`.
    Keyword,
}

/// Lists the parameters as the options have them. `first` is the position of the first.
pub(crate) fn parameters(signature: &Signature, options: &Options, first: usize) -> Result<Vec<Parameter>> {
    let result = ResultType::of(signature);
    let mut parameters = Vec::new();
    for (place, input) in signature.inputs.iter().enumerate() {
        if let FnArg::Typed(typed) = input {
            parameters.push(plain(place, &typed.pat, &typed.ty));
        }
    }
    check_names(&parameters, options)?;
    let mut position = first;
    let mut by_name: Option<String> = None;
    for parameter in &mut parameters {
        let is_in = |names: &[Ident]| names.iter().any(|name| parameter.is_named(name));
        if matches!(&options.skip, Some(Choice::These(names)) if is_in(names)) {
            continue;
        }
        let is_keyword = match &options.kwargs {
            Some(Choice::All(_)) => true,
            Some(Choice::These(names)) => is_in(names),
            None => false,
        };
        let borrowed =
            mutable_reference(&parameter.ty).is_some_and(|reference| !result.may_borrow(reference));
        parameter.is_written = is_in(&options.writes) || borrowed && !is_in(&options.reads);
        parameter.recorded =
            Some(if is_keyword { Recorded::Keyword } else { Recorded::Positional(position) });
        check_order(parameter, is_keyword, &by_name)?;
        match (is_keyword, &parameter.label) {
            (true, label) => by_name.clone_from(label),
            (false, _) => position += 1,
        }
    }
    Ok(parameters)
}

impl Parameter {
    /// Returns the variant of `ArgumentPlace`, positions counted from `first`.
    pub(crate) fn place(&self, first: usize) -> TokenStream {
        match self.recorded {
            Some(Recorded::Positional(position)) => {
                let position = position - first;
                hygienic!(Positional(#position))
            }
            Some(Recorded::Keyword) | None => {
                let label = &self.label;
                hygienic!(Keyword(#label))
            }
        }
    }

    fn is_named(&self, name: &Ident) -> bool {
        self.label.as_deref().is_some_and(|label| *name == label || name.unraw() == label)
    }
}

fn plain(place: usize, pattern: &Pat, ty: &Type) -> Parameter {
    let own_name = format_ident!("__callbox_argument_{place}", span = Span::mixed_site());
    let (name, label, taken_apart, mutability) = match pattern {
        Pat::Ident(PatIdent { ident, mutability, by_ref: None, subpat: None, .. }) => {
            let label = Some(ident.unraw().to_string());
            // What is named as unused is not used under that name.
            if ident.to_string().starts_with('_') {
                (own_name, label, Some(pattern.clone()), None)
            } else {
                (ident.clone(), label, None, *mutability)
            }
        }
        pattern => (own_name, None, Some(pattern.clone()), None),
    };
    let ty = ty.clone();
    Parameter { name, label, pattern: taken_apart, mutability, ty, recorded: None, is_written: false }
}

/// Every name in an option is that of a parameter, and the options do not contradict each other.
fn check_names(parameters: &[Parameter], options: &Options) -> Result<()> {
    let list = |choice: &'_ Option<Choice>| match choice {
        Some(Choice::These(names)) => names.clone(),
        Some(Choice::All(_)) | None => Vec::new(),
    };
    let (kwargs, skip) = (list(&options.kwargs), list(&options.skip));
    let mut errors = Vec::new();
    for (option, names) in
        [("kwargs", &kwargs), ("skip", &skip), ("writes", &options.writes), ("reads", &options.reads)]
    {
        for name in names {
            let known = parameters.iter().find(|parameter| parameter.is_named(name));
            match known {
                None => errors.push(Error::new(name.span(), no_such(option, name, parameters))),
                Some(_) if option != "skip" && skip.contains(name) => {
                    errors.push(Error::new(name.span(), format!("`{name}` is in `skip` and in `{option}`")));
                }
                Some(_) if option == "reads" && options.writes.contains(name) => {
                    errors.push(Error::new(name.span(), format!("`{name}` is in `writes` and in `reads`")));
                }
                Some(parameter) if option == "reads" && mutable_reference(&parameter.ty).is_none() => {
                    let message =
                        format!("`{name}` is no mutable reference: it is recorded once, before the call");
                    errors.push(Error::new(name.span(), message));
                }
                Some(_) => {}
            }
        }
    }
    combined(errors)
}

fn no_such(option: &str, name: &Ident, parameters: &[Parameter]) -> String {
    let labels: Vec<&str> = parameters.iter().filter_map(|parameter| parameter.label.as_deref()).collect();
    match labels.as_slice() {
        _ if name == "self" => format!("`{option}` is about parameters; `self` is recorded as the object"),
        [] => format!("`{option}` names `{name}`, and the function has no parameter with a name"),
        labels => {
            format!("`{option}` names `{name}`; the function's parameters are {}", labels.join(", "))
        }
    }
}

/// As in a call in Python, what is given by name comes last: else a position would not tell the parameter.
fn check_order(parameter: &Parameter, is_keyword: bool, by_name: &Option<String>) -> Result<()> {
    let message = match (is_keyword, &parameter.label, by_name) {
        (true, None, _) => {
            "this is recorded by name, and a pattern has none: take the argument apart in the body".to_owned()
        }
        (false, label, Some(keyword)) => {
            let this = label.as_ref().map_or("this".to_owned(), |label| format!("`{label}`"));
            format!(
                "{this} comes behind `{keyword}`, which is recorded by name: add it to `kwargs`, or skip it"
            )
        }
        (true, Some(_), _) | (false, _, None) => return Ok(()),
    };
    let span = parameter.pattern.as_ref().map_or(parameter.name.span(), |pattern| pattern.span());
    Err(Error::new(span, message))
}

/// Makes one error of all.
pub(crate) fn combined(errors: Vec<Error>) -> Result<()> {
    let all = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    });
    all.map_or(Ok(()), Err)
}
