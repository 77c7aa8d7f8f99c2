//! Opening a device, and what is missing when it does not open.

use callbox::core::Device;
use callbox_cuda_driver_tests::{Fake, on_fake};
use callbox_kernels_cuda::{CudaDevice, CudaError, CudaKernels, Missing, Options};

fn check_error(prepare: impl FnOnce(Fake), index: u32, expected: &CudaError, hint: &str) {
    on_fake(|fake| {
        prepare(fake);
        let error = CudaDevice::open(index).unwrap_err();
        assert_eq!(error, *expected);
        assert!(error.to_string().contains(hint), "{error}");
    });
}

#[test]
fn a_device_opens_and_leaves_nothing_behind() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        assert_eq!((device.device(), device.to_string()), (Device::Cuda(0), "cuda:0".to_owned()));
        assert_eq!(fake.live_allocations(), 1, "the buffer for staging and nothing else");
        drop(device.clone());
        assert_eq!(device.default_stream().context().name().unwrap(), "Fake device over host memory");
    });
}

#[test]
fn without_a_device_that_is_said() {
    let missing = CudaError::Unavailable(Missing::Device);
    check_error(|fake| fake.set_device_count(0), 0, &missing, "nvidia-smi");
}

#[test]
fn an_old_driver_is_told_with_its_version() {
    let missing = Missing::NewerDriver { version: 11_040, needed: 12_000 };
    check_error(
        |fake| fake.set_version(11_040),
        0,
        &CudaError::Unavailable(missing),
        "CUDA 11.4, at least 12.0",
    );
}

/// Tensors need an older one than kernels do.
#[test]
fn a_driver_that_does_not_read_the_committed_ptx_is_told_with_its_version() {
    on_fake(|fake| {
        fake.set_version(12_040);
        CudaDevice::open(0).unwrap();
        let missing = Missing::NewerDriver { version: 12_040, needed: 12_080 };
        assert_eq!(CudaKernels::open(0).unwrap_err(), CudaError::Unavailable(missing));
    });
}

#[test]
fn a_driver_that_does_not_initialise_says_why() {
    let missing =
        Missing::Initialisation("the driver answered CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)".to_owned());
    check_error(|fake| fake.inject("cuInit", 1, 803), 0, &CudaError::Unavailable(missing), "MISMATCH");
}

#[test]
fn the_library_that_toolkits_bring_is_no_driver() {
    check_error(|fake| fake.inject("cuInit", 1, 34), 0, &CudaError::Unavailable(Missing::Driver), "install");
}

#[test]
fn a_device_beyond_the_last_one_is_not_there() {
    let error = CudaError::NoSuchDevice { index: 2, count: 2 };
    check_error(|fake| fake.set_device_count(2), 2, &error, "there is no cuda:2, the machine has 2");
}

#[test]
fn the_second_device_is_cuda_1() {
    on_fake(|fake| {
        fake.set_device_count(2);
        let device = CudaDevice::open(1).unwrap();
        let tensor = device.upload(&device.default_stream(), &crate::counting(9)).unwrap();
        assert_eq!(tensor.to_host().unwrap().device(), Device::Cuda(1));
    });
}

#[test]
fn no_room_for_staging_is_out_of_memory() {
    check_error(|fake| fake.inject("cuMemHostAlloc", 1, 2), 0, &CudaError::OutOfMemory, "staging");
}

#[test]
fn a_device_is_made_of_the_application_s_own_context() {
    on_fake(|_| {
        let opened = CudaDevice::open(0).unwrap();
        let device = CudaDevice::of_context(opened.context(), Options { staging_bytes: 16 }).unwrap();
        let tensor = device.upload(&device.default_stream(), &crate::counting(100)).unwrap();
        assert_eq!(tensor.to_host().unwrap().storage(), crate::counting(100).storage());
    });
}

/// A library by the driver's name that is something else, or too old to have a function: cudarc panics.
#[test]
fn a_library_that_lacks_a_function_is_an_error_and_no_panic() {
    const NAME: &str = "opening::a_library_that_lacks_a_function_is_an_error_and_no_panic";
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(crate::emulated_library(), folder.path().join("libcuda.so")).unwrap();
    crate::in_a_process_of_its_own(NAME, ("LD_LIBRARY_PATH", folder.path().as_os_str()), || {
        let error = CudaDevice::open(0).unwrap_err();
        let CudaError::Unavailable(Missing::Initialisation(reason)) = &error else { panic!("{error}") };
        assert!(reason.contains("cuDriverGetVersion"), "{error}");
    });
}
