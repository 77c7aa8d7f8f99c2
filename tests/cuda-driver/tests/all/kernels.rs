//! Kernels of the tests, and launching them as an application does.
#![expect(unsafe_code, reason = "a kernel is given the addresses of its parameters, and launched unchecked")]

use std::ffi::{c_uint, c_void};
use std::slice;
use std::sync::Arc;

use callbox_cuda_driver_tests::Fake;
use callbox_kernels_cuda::cudarc::driver::sys::{self, CUfunction_attribute, CUstreamCaptureMode};
use callbox_kernels_cuda::cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig, PushKernelArg,
    result,
};
use callbox_kernels_cuda::cudarc::nvrtc::Ptx;

/// An address that nobody may touch, as the driver says it.
pub(crate) const ILLEGAL_ADDRESS: u32 = 700;

const PTX: &str = "\
.version 8.7
.target sm_80
.address_size 64
.visible .entry add(.param .u64 elements, .param .u64 len, .param .f32 value) { ret; }
.visible .entry stray(.param .u64 elements) { ret; }
.visible .entry forgotten() { ret; }
";

/// Adds a value to each element.
unsafe extern "C" fn add(_: *const c_uint, _: *const c_uint, _: c_uint, parameters: *mut *mut c_void) {
    // SAFETY: it was registered with these parameters, and the test launches it on a slice of so many elements.
    let (elements, value) = unsafe {
        let [start, len, value] = [0, 1, 2].map(|place| parameters.add(place).read());
        let start = std::ptr::with_exposed_provenance_mut::<f32>(start.cast::<usize>().read());
        (slice::from_raw_parts_mut(start, len.cast::<usize>().read()), value.cast::<f32>().read())
    };
    elements.iter_mut().for_each(|element| *element += value);
}

/// Touches what it may not.
unsafe extern "C" fn stray(_: *const c_uint, _: *const c_uint, _: c_uint, _: *mut *mut c_void) {
    Fake::raise(ILLEGAL_ADDRESS);
}

/// The kernels of a stream's context.
#[derive(Clone, Debug)]
pub(crate) struct Kernels {
    stream: Arc<CudaStream>,
    add: CudaFunction,
    stray: CudaFunction,
    /// In the module, and emulated by nobody.
    pub(crate) forgotten: CudaFunction,
}

impl Kernels {
    pub(crate) fn load(fake: Fake, stream: &Arc<CudaStream>) -> Kernels {
        fake.register("add", add, &[8, 8, 4]);
        fake.register("stray", stray, &[8]);
        let module = stream.context().load_module(Ptx::from_src(PTX)).unwrap();
        let function = |name| module.load_function(name).unwrap();
        let (add, stray, forgotten) = (function("add"), function("stray"), function("forgotten"));
        assert!(module.load_function("ad").is_err(), "no kernel of the module");
        Kernels { stream: stream.clone(), add, stray, forgotten }
    }

    /// Lets the stream add a value to each element.
    pub(crate) fn add(&self, slice: &mut CudaSlice<f32>, value: f32) {
        let len = slice.len();
        let mut launch = self.stream.launch_builder(&self.add);
        launch.arg(slice).arg(&len).arg(&value);
        // SAFETY: the parameters are the kernel's.
        unsafe { launch.launch(LaunchConfig::for_num_elems(len as u32)) }.unwrap();
    }

    /// Lets the stream touch what it may not.
    pub(crate) fn stray(&self, slice: &mut CudaSlice<f32>) {
        let mut launch = self.stream.launch_builder(&self.stray);
        launch.arg(slice);
        // SAFETY: the parameters are the kernel's.
        unsafe { launch.launch(LaunchConfig::for_num_elems(1)) }.unwrap();
    }

    /// Launches a kernel without parameters in a block of so many threads, with so much shared memory.
    pub(crate) fn launch_bare(
        &self,
        function: &CudaFunction,
        threads: u32,
        shared_mem_bytes: u32,
    ) -> Result<(), DriverError> {
        let config = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes };
        // SAFETY: the kernel has no parameters.
        unsafe { self.stream.launch_builder(function).launch(config) }.map(|_| ())
    }
}

/// Lets slices that are made from now on have no events.
pub(crate) fn disable_event_tracking(context: &CudaContext) {
    // SAFETY: the tests use one stream for each slice.
    unsafe { context.disable_event_tracking() };
}

/// Makes a stream that the legacy default stream waits for; [`destroy`] it.
pub(crate) fn blocking_stream(context: &Arc<CudaContext>) -> Arc<CudaStream> {
    context.bind_to_thread().unwrap();
    let stream = result::stream::create(result::stream::StreamKind::Default).unwrap();
    // SAFETY: it was created in this context, and lives until the test destroys it.
    unsafe { context.wrap_borrowed_stream(stream) }
}

pub(crate) fn destroy(stream: &CudaStream) {
    // SAFETY: the test has no more use for it.
    unsafe { result::stream::destroy(stream.cu_stream()) }.unwrap();
}

/// Allocates elements that nobody has written.
pub(crate) fn unwritten(stream: &Arc<CudaStream>, len: usize) -> CudaSlice<f32> {
    // SAFETY: any bits are a float.
    unsafe { stream.alloc(len) }.unwrap()
}

/// Does nothing.
pub(crate) unsafe extern "C" fn nothing(_: *const c_uint, _: *const c_uint, _: c_uint, _: *mut *mut c_void) {}

/// Lets a kernel have so many bytes of dynamic shared memory.
pub(crate) fn allow_shared_bytes(function: &CudaFunction, bytes: i32) -> Result<(), DriverError> {
    function.set_attribute(CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)
}

/// Allocates pinned memory, and gives it back.
pub(crate) fn allocate_pinned(context: &Arc<CudaContext>) -> Result<(), DriverError> {
    // SAFETY: nobody looks at it.
    unsafe { context.alloc_pinned_with_flags::<u8>(1, 0) }.map(drop)
}

/// Loads a module without kernels, and unloads it.
pub(crate) fn load_empty(context: &Arc<CudaContext>) -> Result<(), DriverError> {
    context.load_module(Ptx::from_src(".version 8.7\n.target sm_80\n")).map(drop)
}

/// Says which captures forbid this thread unsafe calls; returns what was so before.
pub(crate) fn exchange_capture_mode(mut mode: CUstreamCaptureMode) -> CUstreamCaptureMode {
    // SAFETY: it reads one mode and writes another.
    unsafe { sys::cuThreadExchangeStreamCaptureMode(&mut mode) }.result().unwrap();
    mode
}

/// Returns the address of a slice's first element.
pub(crate) fn address<T>(slice: &CudaSlice<T>) -> u64 {
    slice.device_ptr(slice.stream()).0
}

/// Copies from any address, however long that is valid.
pub(crate) fn copy_from(stream: &CudaStream, address: u64, host: &mut [u8]) -> Result<(), DriverError> {
    stream.context().bind_to_thread()?;
    // SAFETY: the driver checks the address; the test keeps the host's bytes until it has waited.
    unsafe { result::memcpy_dtoh_async(host, address, stream.cu_stream()) }
}

/// Copies as many bytes as the host has room for, from an offset in bytes on.
pub(crate) fn copy_without_checks(
    stream: &CudaStream,
    slice: &CudaSlice<u8>,
    offset: u64,
    host: &mut [u8],
) -> Result<(), DriverError> {
    copy_from(stream, address(slice) + offset, host)
}

/// Waits for a stream in whatever context is current.
pub(crate) fn synchronize_without_binding(stream: &CudaStream) -> Result<(), DriverError> {
    // SAFETY: the stream is there.
    unsafe { result::stream::synchronize(stream.cu_stream()) }
}

/// The kernels of the example `emulated`.
#[derive(Debug)]
pub(crate) struct Emulated {
    stream: Arc<CudaStream>,
    double: CudaFunction,
    diverge: CudaFunction,
}

impl Emulated {
    pub(crate) fn load(stream: &Arc<CudaStream>) -> Emulated {
        let ptx = ".version 8.7\n.target sm_80\n.visible .entry double_each(\n.visible .entry diverge(";
        let module = stream.context().load_module(Ptx::from_src(ptx)).unwrap();
        let [double, diverge] = ["double_each", "diverge"].map(|name| module.load_function(name).unwrap());
        Emulated { stream: stream.clone(), double, diverge }
    }

    pub(crate) fn double(&self, slice: &mut CudaSlice<f32>) -> Result<(), DriverError> {
        let len = slice.len() as u32;
        let mut launch = self.stream.launch_builder(&self.double);
        launch.arg(slice).arg(&len);
        // SAFETY: the parameters are the kernel's.
        unsafe { launch.launch(LaunchConfig::for_num_elems(len)) }.map(|_| ())
    }

    pub(crate) fn diverge(&self) -> Result<(), DriverError> {
        // SAFETY: it has no parameters.
        unsafe { self.stream.launch_builder(&self.diverge).launch(LaunchConfig::for_num_elems(1)) }
            .map(|_| ())
    }
}
