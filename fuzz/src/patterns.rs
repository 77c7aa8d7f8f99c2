//! The filter's two lists of patterns.

use callbox_core::filter::fnmatch;
use callbox_core::{Filter, FunctionName};

/// Reads `include NUL exclude NUL module NUL name`; the filter has to agree with the plain matcher.
pub(crate) fn lists(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut parts = text.splitn(4, '\0');
    let mut next = || parts.next().unwrap_or_default();
    let (include, exclude, module, name) = (next(), next(), next(), next());
    let allowed = Filter::new(include, exclude).allows(&FunctionName::new(module, name));
    let qualified = match module.rsplit('.').next() {
        Some(last) if !module.is_empty() => format!("{last}.{name}"),
        _ => name.to_owned(),
    };
    let takes = |list: &str, names: &[&str]| {
        patterns(list).iter().any(|pattern| names.iter().any(|name| fnmatch(pattern, name)))
    };
    let is_included = patterns(include).is_empty() || takes(include, &[name, &qualified]);
    assert_eq!(
        allowed,
        is_included && !takes(exclude, &[name]),
        "{include:?} {exclude:?} {module:?} {name:?}"
    );
}

fn patterns(list: &str) -> Vec<&str> {
    // Python drops the four ASCII separators too.
    let is_blank = |character: char| character.is_whitespace() || ('\x1c'..='\x1f').contains(&character);
    list.split(',')
        .map(|pattern| pattern.trim_matches(is_blank))
        .filter(|pattern| !pattern.is_empty())
        .collect()
}
