//! A function's signature as text for people: `(x: &Tensor, eps: f32) -> Result<Tensor>`.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{FnArg, Pat, PatIdent, ReturnType, Signature};

/// Writes parameters and result as rustfmt would on one line; without `mut`, generics and conditions.
pub(crate) fn signature_text(signature: &Signature) -> String {
    let parameters: Vec<String> = signature.inputs.iter().map(parameter).collect();
    let result = match &signature.output {
        ReturnType::Default => String::new(),
        ReturnType::Type(_, ty) => format!(" -> {}", text_of(ty)),
    };
    format!("({}){result}", parameters.join(", "))
}

fn parameter(input: &FnArg) -> String {
    match input {
        FnArg::Receiver(receiver) => {
            let mut receiver = receiver.clone();
            receiver.attrs.clear();
            text_of(&receiver)
        }
        FnArg::Typed(typed) => {
            let pattern = match &*typed.pat {
                Pat::Ident(PatIdent { ident, subpat: None, .. }) => ident.to_string(),
                pattern => text_of(pattern),
            };
            format!("{pattern}: {}", text_of(&typed.ty))
        }
    }
}

/// Writes anything with blanks where rustfmt has them.
pub(crate) fn text_of(tokens: &impl ToTokens) -> String {
    let mut pieces = Vec::new();
    split(tokens.to_token_stream(), &mut pieces);
    let mut text = String::new();
    let mut previous: Option<&Piece> = None;
    for piece in &pieces {
        if previous.is_some_and(|previous| stand_apart(previous, piece)) {
            text.push(' ');
        }
        text.push_str(&piece.text);
        previous = Some(piece);
    }
    text
}

/// A token, or tokens that stand together in any case: `::`, `'a`, `(A, B)`.
struct Piece {
    text: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Punctuation,
    Parentheses,
    Brackets,
    Braces,
}

fn split(tokens: TokenStream, pieces: &mut Vec<Piece>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let (text, kind) = match token {
            TokenTree::Ident(word) => (word.to_string(), Kind::Word),
            TokenTree::Literal(literal) => (literal.to_string(), Kind::Word),
            TokenTree::Punct(first) => {
                let mut text = first.as_char().to_string();
                let next = tokens.peek().cloned();
                match (first.as_char(), next) {
                    ('\'', Some(TokenTree::Ident(name))) => {
                        tokens.next();
                        (format!("'{name}"), Kind::Word)
                    }
                    (first_char, Some(TokenTree::Punct(second))) if first.spacing() == Spacing::Joint => {
                        if matches!((first_char, second.as_char()), (':', ':') | ('-', '>') | ('.', '.')) {
                            tokens.next();
                            text.push(second.as_char());
                        }
                        (text, Kind::Punctuation)
                    }
                    (_, _) => (text, Kind::Punctuation),
                }
            }
            TokenTree::Group(group) => {
                let inner = text_of(&group.stream());
                match group.delimiter() {
                    Delimiter::Parenthesis => (format!("({inner})"), Kind::Parentheses),
                    Delimiter::Bracket => (format!("[{inner}]"), Kind::Brackets),
                    Delimiter::Brace => (format!("{{ {inner} }}"), Kind::Braces),
                    Delimiter::None => {
                        split(group.stream(), pieces);
                        continue;
                    }
                }
            }
        };
        pieces.push(Piece { text, kind });
    }
}

fn stand_apart(left: &Piece, right: &Piece) -> bool {
    let both = (left.kind, left.text.as_str(), right.kind, right.text.as_str());
    match both {
        (_, _, Kind::Punctuation, "," | ";" | ":" | "." | ">") => false,
        (Kind::Punctuation, "&" | "::" | "<" | "*" | "?" | "!" | "." | ".." | "#", _, _) => false,
        (Kind::Punctuation, "->" | "+" | "=" | "," | ";" | ":" | "-", _, _) => true,
        (_, _, Kind::Punctuation, "->" | "+" | "=" | "-") => true,
        (_, _, Kind::Punctuation, "<" | "::" | "!") => false,
        (Kind::Word, word, Kind::Parentheses, _) => is_keyword(word),
        (Kind::Punctuation, ">", Kind::Parentheses, _) => false,
        (_, _, _, _) => true,
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "mut" | "const" | "dyn" | "impl" | "for" | "ref") || word.starts_with('\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(function: &str, expected: &str) {
        let function: syn::ItemFn = syn::parse_str(&format!("fn f{function} {{}}")).unwrap();
        assert_eq!(signature_text(&function.sig), expected);
    }

    #[test]
    fn a_signature_is_written_as_rustfmt_writes_it() {
        for signature in [
            "()",
            "(x: &Tensor, eps: f32) -> Result<Tensor>",
            "(&self, q: &Tensor, out: Option<&mut Tensor>) -> std::result::Result<(), Error>",
            "(&'a mut self, names: &'a [&str], sizes: [usize; 3]) -> Vec<Vec<f32>>",
            "(self: Arc<Self>, run: impl Fn(u8, &str) -> u8 + Send + 'static) -> Box<dyn Any + Send>",
            "(x: *const f32, y: *mut f32) -> !",
            "((a, b): (u8, u8), [c, ..]: [u8; 4], p @ Point { x, .. }: Point) -> <T as Trait>::Output",
            "(x: &dyn for<'a> Fn(&'a T) -> &'a U, y: &(dyn Any + Send), z: impl ?Sized + Trait<Item = u8>)",
            "(_: Matrix<{ N + 1 }>, f: fn(u8) -> u8, g: &mut (u8,), h: &mut [u8])",
        ] {
            check(signature, signature);
        }
    }

    #[test]
    fn blanks_are_normalised_and_what_the_caller_does_not_see_is_left_out() {
        check(
            "<T : Clone>( mut   x : & T ,\n y:Vec < u8 > , ) ->Result< T > where T: Send",
            "(x: &T, y: Vec<u8>) -> Result<T>",
        );
        check("(&mut self, #[doc = \"x\"] mut n: u8)", "(&mut self, n: u8)");
    }
}
