//! Signatures in Python's spelling, for binding recorded arguments.

use crate::value::{Int, OwnedValue, Value};

/// The parameters of a function.
#[derive(Clone, Debug)]
pub struct Signature {
    parameters: Vec<Parameter>,
    positional: usize,
    more_positional: bool,
}

/// One parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value where the call gives none; `None` where it must.
    pub default: Option<OwnedValue>,
}

impl Signature {
    /// Reads parameters as Python writes them: `x, eps=1e-6, *, out=None`.
    ///
    /// A default is `None`, `True`, `False`, a number or a quoted string. `*args` takes any number of
    /// positional arguments; what follows it, or a bare `*`, is by name only.
    ///
    /// # Panics
    ///
    /// On anything else: signatures are part of the program, and a test reads them all.
    pub fn parse(text: &'static str) -> Signature {
        let mut parameters = Vec::new();
        let mut positional = None;
        let mut more_positional = false;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if let Some(rest) = item.strip_prefix('*') {
                more_positional = !rest.is_empty();
                positional = Some(parameters.len());
                continue;
            }
            let (name, default) = match item.split_once('=') {
                Some((name, default)) => (name, Some(literal(default))),
                None => (item, None),
            };
            parameters.push(Parameter { name, default });
        }
        let positional = positional.unwrap_or(parameters.len());
        Signature { parameters, positional, more_positional }
    }

    /// Returns the parameters in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Returns how many parameters can be given by position.
    pub(crate) fn positional_count(&self) -> usize {
        self.positional
    }

    /// Tells whether any number of further positional arguments is accepted.
    pub(crate) fn takes_more_positional(&self) -> bool {
        self.more_positional
    }

    /// Finds a parameter's place by its name.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.parameters.iter().position(|parameter| parameter.name == name)
    }
}

fn literal(text: &'static str) -> OwnedValue {
    match text {
        "None" => return Value::None,
        "True" => return Value::Bool(true),
        "False" => return Value::Bool(false),
        _ => {}
    }
    if let Some(quoted) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Value::text(quoted);
    }
    if let Ok(value) = text.parse() {
        return Value::Int(Int::Small(value));
    }
    Value::Float(text.parse().unwrap_or_else(|_| panic!("`{text}` is no default that a signature can have")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_stars_and_order_are_read() {
        let signature = Signature::parse("q, scale=0.5, n=-1, mode='NONE', *args, out=None, flag=True");
        let names: Vec<_> = signature.parameters().iter().map(|p| p.name).collect();
        assert_eq!(names, ["q", "scale", "n", "mode", "out", "flag"]);
        assert_eq!((signature.positional_count(), signature.takes_more_positional()), (4, true));
        assert!(matches!(signature.parameters()[1].default, Some(Value::Float(0.5))));
        assert!(matches!(signature.parameters()[2].default, Some(Value::Int(Int::Small(-1)))));
        assert!(signature.parameters()[0].default.is_none());
    }
}
