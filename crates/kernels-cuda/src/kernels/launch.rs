//! Launching a kernel.
#![expect(unsafe_code, reason = "a kernel is given addresses, and nobody checks what it does with them")]

use callbox_core::planted;
use cudarc::driver::{DeviceRepr, LaunchArgs, LaunchConfig, PushKernelArg};

use super::memory::Run;
use super::modules::Module;
use super::{attention, fp4, gemm, rope, statistics};
use crate::error::CudaError;

/// What is launched, and by how many threads.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) module: Module,
    /// The kernel's name in it.
    pub(crate) name: String,
    /// Blocks in three dimensions.
    pub(crate) grid: [u32; 3],
    /// Threads of a block in three dimensions.
    pub(crate) block: [u32; 3],
    /// Bytes of shared memory beside what the kernel declares.
    pub(crate) shared_bytes: u32,
}

/// The value of a parameter.
pub(crate) trait Parameter {
    /// Returns its size in bytes.
    fn size(&self) -> usize;
    /// Appends its place to a launch.
    fn push<'a>(&'a self, arguments: &mut LaunchArgs<'a>);
}

impl<T: DeviceRepr> Parameter for T {
    fn size(&self) -> usize {
        size_of::<T>()
    }

    fn push<'a>(&'a self, arguments: &mut LaunchArgs<'a>) {
        arguments.arg(self);
    }
}

/// Structures that kernels take by value: the same fields in the same order as in their `.cu` files, whose sizes are
/// asserted on both sides.
macro_rules! structures {
    ($($structure:ty),+ $(,)?) => {
        $(
            // SAFETY: it is laid out as C does it, of numbers and addresses alone, and has no padding.
            unsafe impl DeviceRepr for $structure {}
        )+
    };
}

structures!(
    attention::Parameters,
    fp4::Factor,
    fp4::ProductParameters,
    fp4::QuantizationParameters,
    gemm::Parameters,
    rope::FrequencyParameters,
    rope::Heads,
    statistics::View,
);

impl Run<'_> {
    /// Lets the stream run a kernel, behind what it was told before.
    ///
    /// The parameters are the kernel's, in its order. Memory that they lead to is of this device and of the sizes that
    /// the head of the kernel's file asks for, and is there until the stream has got here: freeing it is in the
    /// stream's order too.
    ///
    /// # Panics
    ///
    /// If the parameters are not as many and as large as the PTX declares.
    pub(crate) fn launch(&self, launch: &Launch, parameters: &[&dyn Parameter]) -> Result<(), CudaError> {
        let function = self.function(launch.module, &launch.name)?;
        let forgotten = usize::from(planted::bug("argument_forgotten"));
        let parameters = &parameters[..parameters.len() - forgotten];
        let sizes: Vec<_> = parameters.iter().map(|parameter| parameter.size()).collect();
        assert_eq!(sizes, function.parameter_sizes, "bytes of the parameters of {}", launch.name);
        let mut arguments = self.stream().launch_builder(&function.cuda);
        parameters.iter().for_each(|parameter| parameter.push(&mut arguments));
        let config = LaunchConfig {
            grid_dim: launch.grid.into(),
            block_dim: launch.block.into(),
            shared_mem_bytes: launch.shared_bytes,
        };
        // SAFETY: the parameters are as large as the kernel's, and what they mean is this folder's to get right: each
        // kernel is launched in one place.
        unsafe { arguments.launch(config) }.map(drop).map_err(CudaError::from)
    }
}
