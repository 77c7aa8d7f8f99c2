//! What fails: memory, the driver, the device for good.

use callbox::core::{Layout, StageError, StorageBytes};
use callbox_cuda_driver_tests::on_fake;
use callbox_kernels_cuda::cudarc::driver::sys::CUresult;
use callbox_kernels_cuda::cudarc::driver::{DriverError, result};
use callbox_kernels_cuda::{CudaDevice, CudaError, DeviceTensor};

use crate::kernels::{ILLEGAL_ADDRESS, Kernels};
use crate::{counting, floats};

fn lost(error: &CudaError) -> bool {
    matches!(error, CudaError::DeviceLost { code: ILLEGAL_ADDRESS, name } if name == "CUDA_ERROR_ILLEGAL_ADDRESS")
}

/// Reads a tensor's first byte through the port.
fn first_byte(tensor: &DeviceTensor) -> Result<u8, StageError> {
    let StorageBytes::Device(memory) = tensor.as_view().storage.bytes else { panic!("it is on a device") };
    let mut byte = [0];
    memory.read(0, &mut byte).map(|()| byte[0])
}

#[test]
fn a_device_that_has_no_room_says_so_and_works_on() {
    on_fake(|fake| {
        fake.set_memory_limit(1000);
        let device = CudaDevice::open(0).unwrap();
        let error = device.upload(&device.default_stream(), &counting(1001)).unwrap_err();
        assert_eq!(error, CudaError::OutOfMemory);
        let tensor = device.upload(&device.default_stream(), &counting(1000)).unwrap();
        assert_eq!(tensor.to_host().unwrap().numel(), 1000);
    });
}

#[test]
fn a_fault_of_a_kernel_is_found_by_who_waits_and_by_everybody_after() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = floats(&device, &[1., 2.]);
        assert_eq!(first_byte(&tensor).unwrap(), 0);
        kernels.stray(&mut tensor.slice_mut().unwrap());
        let StageError::Device(cause) = first_byte(&tensor).unwrap_err() else { panic!("the device failed") };
        assert!(cause.downcast_ref().is_some_and(lost), "{cause}");
        assert!(cause.to_string().contains("start the process anew"), "{cause}");
        assert!(lost(&tensor.to_host().unwrap_err()));
        let StorageBytes::Device(memory) = tensor.as_view().storage.bytes else {
            panic!("it is on a device")
        };
        assert!(!memory.capturing(), "who cannot be asked is not capturing");
        assert!(lost(&device.upload(&device.default_stream(), &counting(3)).unwrap_err()));
        assert!(lost(&CudaDevice::of_context(device.context(), Default::default()).unwrap_err()));
    });
}

#[test]
fn a_driver_that_refuses_once_costs_one_reading() {
    for (function, nth) in
        [("cuMemcpyDtoHAsync_v2", 1), ("cuStreamSynchronize", 1), ("cuStreamSynchronize", 2)]
    {
        on_fake(|fake| {
            let device = CudaDevice::open(0).unwrap();
            let tensor = device.upload(&device.default_stream(), &counting(10)).unwrap();
            fake.inject(function, nth, 999);
            let error = tensor.to_host().unwrap_err();
            assert_eq!(error, CudaError::Driver { code: 999, name: "CUDA_ERROR_UNKNOWN".to_owned() });
            assert_eq!(tensor.to_host().unwrap().storage(), counting(10).storage(), "{function}");
        });
    }
}

/// The copy that nobody waited for is on its way while the next tensor is read.
#[test]
fn a_copy_that_was_not_waited_for_does_not_show_in_the_next() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let streams = [device.context().new_stream().unwrap(), device.context().new_stream().unwrap()];
        let first = device.upload(&streams[0], &counting(300)).unwrap();
        let second = device
            .upload(&streams[1], &crate::TensorBuf::from_f32(crate::DType::Float32, &[1], &[7.]).unwrap());
        let second = second.unwrap();
        // Of the two waits of a reading, the one behind its copy.
        fake.inject("cuStreamSynchronize", 2, 999);
        first.to_host().unwrap_err();
        assert_ne!(fake.pending(), 0, "the copy is still to be done");
        assert_eq!(second.to_host().unwrap().to_f32().unwrap(), [7.]);
        assert_eq!(fake.pending(), 0, "and was waited for");
        assert_eq!(first.to_host().unwrap().storage(), counting(300).storage());
    });
}

#[test]
fn an_error_that_was_parked_for_the_application_stays_parked() {
    on_fake(|_| {
        let device = CudaDevice::open(0).unwrap();
        let tensor = device.upload(&device.default_stream(), &counting(10)).unwrap();
        let parked = DriverError(CUresult::CUDA_ERROR_INVALID_VALUE);
        device.context().record_err::<()>(Err(parked));
        assert_eq!(tensor.to_host().unwrap().numel(), 10);
        assert_eq!(device.context().check_err(), Err(parked));
        assert_eq!(device.context().check_err(), Ok(()));
    });
}

#[test]
fn an_error_that_our_own_calls_park_is_ours() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let (owner, other) = (device.context().new_stream().unwrap(), device.context().new_stream().unwrap());
        let mut tensor = device
            .upload(&owner, &crate::TensorBuf::from_f32(crate::DType::Float32, &[1], &[1.]).unwrap())
            .unwrap();
        Kernels::load(fake, &other).add(&mut tensor.slice_mut().unwrap(), 1.);
        // cudarc parks this one: it stands between a writer on another stream and the reader.
        fake.inject("cuStreamWaitEvent", 1, 999);
        assert!(matches!(tensor.to_host(), Err(CudaError::Driver { code: 999, .. })));
        assert_eq!(device.context().check_err(), Ok(()));
    });
}

#[test]
fn a_tensor_that_is_dropped_in_a_lost_context_is_no_panic() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let tensor = device
            .tensor(device.default_stream().alloc_zeros::<u8>(4).unwrap(), Layout::contiguous(&[4]).unwrap());
        fake.inject("cuCtxSynchronize", 1, ILLEGAL_ADDRESS);
        assert!(device.context().synchronize().is_err());
        drop(tensor);
        result::ctx::get_current().unwrap();
    });
}
