//! A place in the program where calls are recorded.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::filter::Filter;
use crate::name::FunctionName;
use crate::sync::OnceBox;

/// An annotated function: its name, its signature, and what the filter said of it.
///
/// ```
/// use callbox_core::Callsite;
///
/// static RMS_NORM: Callsite = Callsite::new("engine::norm", "rms_norm", "(x: &Tensor, eps: f32) -> Tensor");
/// assert_eq!(RMS_NORM.function().to_string(), "engine.norm.rms_norm");
/// ```
#[derive(Debug)]
pub struct Callsite {
    module: &'static str,
    name: &'static str,
    signature: &'static str,
    function: OnceBox<FunctionName>,
    /// The last recorder that asked and its filter's answer: `recorder << 1 | allowed`; 0 before anyone asked.
    answer: AtomicU64,
}

impl Callsite {
    /// Describes a function: its module as `module_path!()` spells it (or with dots), `function` or
    /// `ClassName.method`, and its signature as text for people.
    pub const fn new(module: &'static str, name: &'static str, signature: &'static str) -> Callsite {
        Callsite { module, name, signature, function: OnceBox::new(), answer: AtomicU64::new(0) }
    }

    /// Returns the function's name; its module is spelled with dots.
    pub fn function(&self) -> &FunctionName {
        self.function.get_or_init(|| Box::new(FunctionName::new(self.module.replace("::", "."), self.name)))
    }

    /// Returns the signature.
    pub fn signature(&self) -> &'static str {
        self.signature
    }

    /// Asks the filter of a recorder, or remembers what it said. Recorders are numbered from 1.
    pub(crate) fn is_allowed(&self, recorder: u64, filter: &Filter) -> bool {
        let answer = self.answer.load(Ordering::Relaxed);
        if answer >> 1 == recorder {
            return answer & 1 == 1;
        }
        let allowed = filter.allows(self.function());
        self.answer.store(recorder << 1 | u64::from(allowed), Ordering::Relaxed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_kept_for_one_recorder_and_asked_again_for_another() {
        let callsite = Callsite::new("engine::decode", "run", "()");
        let (all, none) = (Filter::default(), Filter::new("other", ""));
        assert!(callsite.is_allowed(1, &all));
        assert!(callsite.is_allowed(1, &none), "recorder 1 has asked already");
        assert!(!callsite.is_allowed(2, &none));
        assert!(!callsite.is_allowed(2, &all), "recorder 2 has asked already");
        assert_eq!(callsite.function().module(), "engine.decode");
    }
}
