//! The filter's logic against a slow oracle, and its laws.

use callbox_core::filter::fnmatch;
use callbox_core::{Filter, FunctionName};
use proptest::prelude::*;

/// The documented rule, word by word.
fn oracle(include: &[String], exclude: &[String], module: &str, name: &str) -> bool {
    let patterns = |list: &[String]| -> Vec<String> {
        let trimmed = list.iter().map(|pattern| pattern.trim().to_owned());
        trimmed.filter(|pattern| !pattern.is_empty()).collect()
    };
    let (include, exclude) = (patterns(include), patterns(exclude));
    let behind_module = match module.rsplit('.').next() {
        Some("") | None => name.to_owned(),
        Some(last) => format!("{last}.{name}"),
    };
    let included = include.is_empty()
        || include.iter().any(|pattern| fnmatch(pattern, name) || fnmatch(pattern, &behind_module));
    included && !exclude.iter().any(|pattern| fnmatch(pattern, name))
}

fn allows(include: &[String], exclude: &[String], module: &str, name: &str) -> bool {
    Filter::new(&include.join(","), &exclude.join(",")).allows(&FunctionName::new(module, name))
}

/// Patterns from the letters that names are made of, so that many match.
fn patterns() -> impl Strategy<Value = Vec<String>> {
    let pattern = prop_oneof![
        "[ \t]{0,2}[ab*?._]{0,5}[ \t]{0,2}",
        "\\*[ab.]{1,3}\\*",
        "\\[[!]?[ab]{1,2}\\][ab*]{0,3}",
        Just(String::new()),
    ];
    prop::collection::vec(pattern, 0..4)
}

fn module() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "a.b", "flashinfer.ab"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn the_filter_says_what_the_rule_says(
        include in patterns(), exclude in patterns(), module in module(), name in "[ab_.]{1,6}",
    ) {
        prop_assert_eq!(
            allows(&include, &exclude, module, &name),
            oracle(&include, &exclude, module, &name)
        );
    }

    #[test]
    fn exclude_wins(include in patterns(), exclude in patterns(), module in module(), name in "[ab_.]{1,6}") {
        let excluded = !exclude.join(",").trim().is_empty() && !allows(&[], &exclude, module, &name);
        prop_assert!(!(excluded && allows(&include, &exclude, module, &name)));
    }

    #[test]
    fn an_empty_include_list_means_all(module in module(), name in "[ab_.]{1,6}") {
        prop_assert!(allows(&[], &[], module, &name));
    }

    #[test]
    fn the_order_of_patterns_is_irrelevant(
        include in patterns(), exclude in patterns(), module in module(), name in "[ab_.]{1,6}",
    ) {
        let reversed = |list: &[String]| list.iter().rev().cloned().collect::<Vec<_>>();
        prop_assert_eq!(
            allows(&include, &exclude, module, &name),
            allows(&reversed(&include), &reversed(&exclude), module, &name)
        );
    }

    #[test]
    fn one_more_include_pattern_never_drops_and_one_more_exclude_pattern_never_adds(
        include in patterns(), exclude in patterns(), more in "[ab*?]{1,4}", module in module(),
        name in "[ab_.]{1,6}",
    ) {
        let before = allows(&include, &exclude, module, &name);
        let with = |list: &[String]| [list, std::slice::from_ref(&more)].concat();
        let has_include = include.iter().any(|pattern| !pattern.trim().is_empty());
        if before && has_include {
            prop_assert!(allows(&with(&include), &exclude, module, &name));
        }
        if !before {
            prop_assert!(!allows(&include, &with(&exclude), module, &name));
        }
    }
}
