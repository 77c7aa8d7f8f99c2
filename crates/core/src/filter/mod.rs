//! Which functions are meant: include and exclude patterns.
//!
//! The same two lists choose what a recorder dumps and what a command works on.

mod class;
mod fnmatch;
mod globs;

use std::borrow::Cow;

use self::fnmatch::Pattern;
pub use self::fnmatch::fnmatch;
use self::globs::PatternSet;
use crate::name::FunctionName;

/// Include and exclude patterns over function names.
///
/// A list is patterns between commas, in the syntax of [`fnmatch`](fnmatch()); blanks around a pattern are
/// dropped, empty patterns are ignored, and an empty list asks for nothing.
///
/// A function is allowed if it is included and not excluded:
///
/// - Included: an include pattern takes its name (`ClassName.method`), or its name behind the last segment
///   of its module (`decode.BatchDecodeWithPagedKVCacheWrapper.run`). So `*decode*` takes what the module
///   `flashinfer.decode` defines, although matching is case-sensitive.
/// - Excluded: an exclude pattern takes its name. The module is left out here, so that an exclude pattern
///   drops no more than FlashInfer's own does.
///
/// ```
/// use callbox_core::{Filter, FunctionName};
///
/// let filter = Filter::new("*fp8*, *FP8*", "*quantize*");
/// let allows = |name| filter.allows(&FunctionName::new("flashinfer.gemm", name));
/// assert!(allows("bmm_fp8") && !allows("fp8_quantize") && !allows("mm_fp4"));
/// ```
#[derive(Clone, Debug)]
pub struct Filter {
    include: PatternSet,
    exclude: PatternSet,
}

impl Filter {
    /// Reads two lists of patterns; any text is one.
    pub fn new(include: &str, exclude: &str) -> Filter {
        Filter { include: patterns(include), exclude: patterns(exclude) }
    }

    /// Tells whether a function is included and not excluded.
    pub fn allows(&self, function: &FunctionName) -> bool {
        let name = function.name();
        let included = self.include.is_empty()
            || self.include.matches(name)
            || self.include.matches(&behind_its_module(function));
        included && !self.exclude.matches(name)
    }
}

/// A filter that allows everything.
impl Default for Filter {
    fn default() -> Filter {
        Filter::new("", "")
    }
}

fn patterns(list: &str) -> PatternSet {
    PatternSet::new(
        list.split(',')
            .map(|pattern| pattern.trim_matches(is_python_blank))
            .filter(|pattern| !pattern.is_empty())
            .map(Pattern::parse)
            .collect(),
    )
}

/// Tells what Python's `str.strip` drops: Unicode's white space and the four ASCII separators.
fn is_python_blank(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

fn behind_its_module(function: &FunctionName) -> Cow<'_, str> {
    if function.module().is_empty() {
        Cow::Borrowed(function.name())
    } else {
        Cow::Owned(function.qualified())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUNCTIONS: [(&str, &str); 10] = [
        ("flashinfer.decode", "single_decode_with_kv_cache"),
        ("flashinfer.decode", "BatchDecodeWithPagedKVCacheWrapper.__init__"),
        ("flashinfer.decode", "BatchDecodeWithPagedKVCacheWrapper.plan"),
        ("flashinfer.decode", "BatchDecodeWithPagedKVCacheWrapper.run"),
        ("flashinfer.prefill", "single_prefill_with_kv_cache"),
        ("flashinfer.prefill", "BatchPrefillWithPagedKVCacheWrapper.run"),
        ("flashinfer.gemm.gemm_base", "mm_fp8"),
        ("flashinfer.gemm.gemm_base", "bmm_fp8"),
        ("flashinfer.fp8_quantization", "mxfp8_quantize"),
        ("", "mm_fp8"),
    ];

    #[track_caller]
    fn check(include: &str, exclude: &str, allowed: &[usize]) {
        let filter = Filter::new(include, exclude);
        let found: Vec<usize> = (0..FUNCTIONS.len())
            .filter(|&place| {
                let (module, name) = FUNCTIONS[place];
                filter.allows(&FunctionName::new(module, name))
            })
            .collect();
        assert_eq!(found, allowed, "include `{include}`, exclude `{exclude}`");
    }

    #[test]
    fn the_documented_table_of_patterns_holds() {
        check("*decode*", "", &[0, 1, 2, 3]);
        check("*Wrapper.run", "", &[3, 5]);
        check("*.__init__", "", &[1]);
        check("mm_fp8", "", &[6, 9]);
        check("single_*", "", &[0, 4]);
    }

    #[test]
    fn the_documented_table_s_plan_takes_methods_alone() {
        check("*.plan", "", &[2]);
        let plain = FunctionName::new("", "plan");
        assert!(!Filter::new("*.plan", "").allows(&plain));
    }

    #[test]
    fn the_documented_examples_hold() {
        check("", "*.__init__,*.plan", &[0, 3, 4, 5, 6, 7, 8, 9]);
        check("single_*", "*prefill*", &[0]);
        check("BatchDecodeWithPagedKVCacheWrapper.run", "", &[3]);
        check("*fp8*,*FP8*", "*quantize*", &[6, 7, 9]);
    }

    #[test]
    fn an_empty_list_asks_for_nothing() {
        let all: Vec<usize> = (0..FUNCTIONS.len()).collect();
        for empty in ["", ",", " , ,", "\x1f,\u{3000}"] {
            check(empty, empty, &all);
        }
    }

    #[test]
    fn blanks_around_a_pattern_are_dropped_and_those_inside_are_not() {
        check(" mm_fp8\t,\x1cnothing", "", &[6, 9]);
        check("mm_ fp8", "", &[]);
    }

    #[test]
    fn an_exclude_pattern_never_sees_the_module() {
        check("*Wrapper.run", "*decode*", &[3, 5]);
        check("*Wrapper.run", "*Decode*", &[5]);
    }
}
