//! What stands in the parentheses of the attribute.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Error, Ident, LitStr, Member, Path, Result, Token, parenthesized, parse_quote, token};

/// What the attribute stands on; each takes options of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function, or a method on its own.
    Function,
    /// A method inside an annotated `impl` block.
    Method,
    /// An `impl` block.
    Block,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Function => "a function",
            Place::Method => "a method",
            Place::Block => "an `impl` block",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Place::Function => &[
                "class",
                "crate",
                "errors",
                "id",
                "kwargs",
                "module",
                "name",
                "reads",
                "replay",
                "skip",
                "skip_result",
                "writes",
            ],
            Place::Method => {
                &["errors", "kwargs", "name", "no_replay", "reads", "skip", "skip_result", "writes"]
            }
            Place::Block => &["class", "constructor", "crate", "errors", "id", "module", "replay"],
        }
    }
}

/// The options, as they are given. Whether they fit the function is seen later.
#[derive(Default)]
pub(crate) struct Options {
    /// The function's name in records.
    pub(crate) name: Option<LitStr>,
    /// The module's name in records.
    pub(crate) module: Option<LitStr>,
    /// The name of the class.
    pub(crate) class: Option<LitStr>,
    /// The field of type `ObjectId`.
    pub(crate) id: Option<Member>,
    /// Path of the facade.
    pub(crate) facade: Option<Path>,
    /// Parameters recorded by name.
    pub(crate) kwargs: Option<Choice>,
    /// Parameters left out; [`Choice::All`] leaves the method out.
    pub(crate) skip: Option<Choice>,
    /// Parameters recorded again after the call.
    pub(crate) writes: Vec<Ident>,
    /// Parameters of a mutable reference that are not recorded again.
    pub(crate) reads: Vec<Ident>,
    /// The result is no value.
    pub(crate) skip_result: bool,
    /// How errors are told.
    pub(crate) errors: Option<Errors>,
    /// Functions that make an object.
    pub(crate) constructors: Option<Vec<Ident>>,
    /// The function can be replayed.
    pub(crate) replay: Option<Span>,
    /// The method is recorded and not replayed with its class.
    pub(crate) no_replay: bool,
}

/// Some, or all.
pub(crate) enum Choice {
    /// The option stands alone.
    All(Span),
    /// The option has a list.
    These(Vec<Ident>),
}

/// How the error of a `Result` becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// By `Display`.
    Display,
    /// By `Debug`.
    Debug,
    /// Not at all.
    Opaque,
}

impl Options {
    /// Reads the options of something annotated.
    pub(crate) fn parse(place: Place, tokens: TokenStream) -> Result<Options> {
        (|input: ParseStream<'_>| parse(place, input)).parse2(tokens)
    }

    /// Returns the path of the facade.
    pub(crate) fn facade(&self) -> Path {
        self.facade.clone().unwrap_or_else(|| parse_quote!(::callbox))
    }
}

fn parse(place: Place, input: ParseStream<'_>) -> Result<Options> {
    let mut options = Options::default();
    let mut given: Vec<String> = Vec::new();
    while !input.is_empty() {
        let key = input.call(Ident::parse_any)?;
        let name = key.to_string();
        if !place.options().contains(&name.as_str()) {
            return Err(Error::new(key.span(), unknown(place, &name)));
        }
        if given.contains(&name) {
            return Err(Error::new(key.span(), format!("`{name}` is given twice")));
        }
        parse_option(place, &key, input, &mut options)?;
        given.push(name);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(options)
}

fn unknown(place: Place, name: &str) -> String {
    let elsewhere = [Place::Function, Place::Block].into_iter().find(|other| other.options().contains(&name));
    let what = match elsewhere {
        Some(other) => format!("`{name}` is an option of {}", other.name()),
        None => format!("unknown option `{name}`"),
    };
    format!("{what}; {} takes {}", place.name(), place.options().join(", "))
}

fn parse_option(place: Place, key: &Ident, input: ParseStream<'_>, options: &mut Options) -> Result<()> {
    match key.to_string().as_str() {
        "name" => options.name = Some(text(key, input)?),
        "module" => options.module = Some(text(key, input)?),
        "class" => options.class = Some(text(key, input)?),
        "crate" => options.facade = Some(text(key, input)?.parse()?),
        "id" => {
            expect(key, input, input.peek(Token![=]), "id = field")?;
            input.parse::<Token![=]>()?;
            options.id = Some(input.parse()?);
        }
        "kwargs" => options.kwargs = Some(choice(key, input)?),
        "skip" => {
            expect(key, input, place == Place::Method || input.peek(token::Paren), "skip(parameter)")?;
            options.skip = Some(choice(key, input)?);
        }
        "writes" => options.writes = names(key, input)?,
        "reads" => options.reads = names(key, input)?,
        "constructor" => options.constructors = Some(names(key, input)?),
        "errors" => options.errors = Some(errors(key, input)?),
        "skip_result" => {
            expect(key, input, at_the_end(input), "skip_result")?;
            options.skip_result = true;
        }
        "no_replay" => {
            expect(key, input, at_the_end(input), "no_replay")?;
            options.no_replay = true;
        }
        "replay" => {
            expect(key, input, at_the_end(input), "replay")?;
            options.replay = Some(key.span());
        }
        other => unreachable!("`{other}` is in the table of options"),
    }
    Ok(())
}

fn expect(key: &Ident, input: ParseStream<'_>, holds: bool, form: &str) -> Result<()> {
    let span = if input.is_empty() { key.span() } else { input.span() };
    if holds { Ok(()) } else { Err(Error::new(span, format!("expected `{form}`"))) }
}

fn at_the_end(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn text(key: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    expect(key, input, input.peek(Token![=]) && input.peek2(LitStr), &format!("{key} = \"..\""))?;
    input.parse::<Token![=]>()?;
    let text: LitStr = input.parse()?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), format!("`{key}` is empty")));
    }
    Ok(text)
}

fn choice(key: &Ident, input: ParseStream<'_>) -> Result<Choice> {
    if at_the_end(input) { Ok(Choice::All(key.span())) } else { names(key, input).map(Choice::These) }
}

fn names(key: &Ident, input: ParseStream<'_>) -> Result<Vec<Ident>> {
    expect(key, input, input.peek(token::Paren), &format!("{key}(name, ..)"))?;
    let content;
    let parentheses = parenthesized!(content in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
    if names.is_empty() {
        return Err(Error::new(parentheses.span.join(), format!("`{key}` names nothing")));
    }
    let names: Vec<Ident> = names.into_iter().collect();
    for (place, name) in names.iter().enumerate() {
        if names[..place].contains(name) {
            return Err(Error::new(name.span(), format!("`{key}` names `{name}` twice")));
        }
    }
    Ok(names)
}

fn errors(key: &Ident, input: ParseStream<'_>) -> Result<Errors> {
    const FORM: &str = "expected `errors(display)`, `errors(debug)` or `errors(opaque)`";
    let names = names(key, input)?;
    match names.as_slice() {
        [name] if name == "display" => Ok(Errors::Display),
        [name] if name == "debug" => Ok(Errors::Debug),
        [name] if name == "opaque" => Ok(Errors::Opaque),
        [first, ..] => Err(Error::new(first.span(), FORM)),
        [] => Err(Error::new(key.span(), FORM)),
    }
}
