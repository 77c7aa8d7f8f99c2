//! The committed PTX, loaded when a kernel of it is launched first.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule};
use cudarc::nvrtc::Ptx;

use crate::error::CudaError;

/// The version of CUDA whose compiler wrote the PTX, 12.8: an older driver does not read it.
pub(super) const NEEDED_VERSION: i32 = 12_080;

/// A file of kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Module {
    Activation,
    Attention,
    Fp4,
    Gemm,
    Norm,
    Rope,
    Statistics,
}

impl Module {
    /// Returns what NVIDIA's compiler made of it for compute_80.
    fn ptx(self) -> &'static str {
        match self {
            Module::Activation => include_str!("../../ptx/activation.ptx"),
            Module::Attention => include_str!("../../ptx/attention.ptx"),
            Module::Fp4 => include_str!("../../ptx/fp4.ptx"),
            Module::Gemm => include_str!("../../ptx/gemm.ptx"),
            Module::Norm => include_str!("../../ptx/norm.ptx"),
            Module::Rope => include_str!("../../ptx/rope.ptx"),
            Module::Statistics => include_str!("../../ptx/statistics.ptx"),
        }
    }
}

/// What of the kernels is loaded in a context.
#[derive(Default)]
pub(crate) struct Modules(Mutex<Loaded>);

#[derive(Default)]
struct Loaded {
    modules: BTreeMap<Module, Arc<CudaModule>>,
    functions: BTreeMap<(Module, String), Function>,
}

/// A kernel, loaded.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) cuda: CudaFunction,
    /// Bytes of each parameter, as its PTX declares them.
    pub(crate) parameter_sizes: Vec<usize>,
}

impl Modules {
    /// Finds a kernel, and loads what it is in where nobody has.
    pub(crate) fn function(
        &self,
        context: &Arc<CudaContext>,
        module: Module,
        name: &str,
    ) -> Result<Function, CudaError> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (module, name.to_owned());
        if let Some(function) = loaded.functions.get(&key) {
            return Ok(function.clone());
        }
        let in_module = match loaded.modules.get(&module) {
            Some(loaded) => loaded.clone(),
            None => {
                let made = context.load_module(Ptx::from_src(module.ptx())).map_err(CudaError::from)?;
                loaded.modules.insert(module, made.clone());
                made
            }
        };
        let cuda = in_module.load_function(name).map_err(CudaError::from)?;
        let function = Function { cuda, parameter_sizes: parameter_sizes(module.ptx(), name) };
        loaded.functions.insert(key, function.clone());
        Ok(function)
    }
}

/// Shows nothing: what is loaded is seen at the driver.
impl fmt::Debug for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Modules").finish_non_exhaustive()
    }
}

/// Reads the sizes of a kernel's parameters, in bytes, where PTX declares it; of one that is not in it, none.
fn parameter_sizes(ptx: &str, name: &str) -> Vec<usize> {
    let declared = ptx.split_once(&format!(".entry {name}(")).and_then(|(_, behind)| behind.split_once(')'));
    let parameters = declared.map_or("", |(parameters, _)| parameters);
    parameters.split(',').filter_map(|parameter| parameter_size(parameter.trim())).collect()
}

/// `.param .u64 name`, or `.param .align 8 .b8 name[128]`.
fn parameter_size(parameter: &str) -> Option<usize> {
    let words: Vec<_> = parameter.split_whitespace().collect();
    let [.., element, name] = words[..] else { return None };
    let bits: usize = element.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()?;
    let count =
        name.split_once('[').map_or(Some(1), |(_, count)| count.trim_end_matches(']').parse().ok())?;
    Some(bits / 8 * count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PTX 8.7 is that of CUDA 12.8 ("PTX ISA", chapter "Release Notes").
    #[test]
    fn the_ptx_is_of_the_version_that_a_driver_is_asked_for() {
        let modules = [Module::Activation, Module::Attention, Module::Fp4, Module::Gemm, Module::Norm];
        for module in modules.into_iter().chain([Module::Rope, Module::Statistics]) {
            assert!(module.ptx().contains("\n.version 8.7\n"), "{module:?}");
        }
    }

    #[test]
    fn sizes_of_parameters_are_those_that_the_ptx_declares() {
        for (module, name, sizes) in [
            (Module::Norm, "rmsnorm_f16", &[8, 8, 8, 4, 8, 8, 4, 4][..]),
            (Module::Statistics, "statistics_partial_f16", &[8, 144, 8]),
            (Module::Fp4, "mm_fp4", &[128]),
            (Module::Norm, "rmsnorm_f1", &[]),
        ] {
            assert_eq!(parameter_sizes(module.ptx(), name), sizes, "{name}");
        }
    }
}
