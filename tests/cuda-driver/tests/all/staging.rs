//! Bytes of a device, on the host.

use std::sync::Arc;

use callbox::core::{Device, DeviceMemory, Layout, StorageBytes};
use callbox::{DType, TensorBuf};
use callbox_cuda_driver_tests::on_fake;
use callbox_kernels_cuda::{CudaDevice, CudaError, DeviceTensor, Options};
use callbox_testkit::conformance;

use crate::kernels::Kernels;
use crate::{counting, counting_bytes, floats};

/// A device whose pieces are of so many bytes.
fn device(staging_bytes: usize) -> CudaDevice {
    CudaDevice::open_with(0, Options { staging_bytes }).unwrap()
}

/// The memory of a tensor, as the recorder sees it.
fn with_memory<T>(tensor: &DeviceTensor, look: impl FnOnce(&dyn DeviceMemory) -> T) -> T {
    match tensor.as_view().storage.bytes {
        StorageBytes::Device(memory) => look(memory),
        StorageBytes::Host(_) => panic!("a tensor of a device is not in host memory"),
    }
}

fn retained(tensor: &DeviceTensor) -> Arc<dyn DeviceMemory> {
    with_memory(tensor, |memory| memory.retain().unwrap())
}

#[test]
fn what_is_uploaded_comes_back() {
    on_fake(|_| {
        let device = CudaDevice::open(0).unwrap();
        let tensor = device.upload(&device.default_stream(), &counting(1000)).unwrap();
        let back = tensor.to_host().unwrap();
        assert_eq!(back.storage(), counting(1000).storage(), "the bytes that were uploaded");
        assert_eq!((back.device(), back.dtype()), (Device::Cuda(0), DType::UInt8));
    });
}

#[test]
fn device_memory_conforms() {
    on_fake(|_| {
        for staging_bytes in [0, 4096, 1 << 20] {
            let device = device(staging_bytes);
            conformance::device_memory(&|len| {
                retained(&device.upload(&device.default_stream(), &counting(len)).unwrap())
            });
        }
    });
}

#[test]
fn any_part_is_read_through_a_buffer_that_is_smaller() {
    on_fake(|fake| {
        let device = device(64);
        let tensor = device.upload(&device.default_stream(), &counting(1003)).unwrap();
        for (offset, len) in [(0, 1003), (1, 64), (63, 65), (3, 1000), (1002, 1), (500, 0)] {
            let copies = fake.calls("cuMemcpyDtoHAsync_v2");
            let mut out = vec![0; len];
            with_memory(&tensor, |memory| memory.read(offset, &mut out)).unwrap();
            assert_eq!(out, counting_bytes(offset, len), "{len} bytes at {offset}");
            assert_eq!(fake.calls("cuMemcpyDtoHAsync_v2") - copies, len.div_ceil(64));
        }
    });
}

#[test]
fn what_the_stream_still_has_to_do_is_waited_for() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = floats(&device, &[1., 2., 3.]);
        kernels.add(&mut tensor.slice_mut().unwrap(), 10.);
        assert_ne!(fake.pending(), 0, "the driver did not wait by itself");
        assert_eq!(tensor.to_host().unwrap().to_f32().unwrap(), [11., 12., 13.]);
    });
}

#[test]
fn reading_nothing_waits_as_well() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = floats(&device, &[1.]);
        kernels.add(&mut tensor.slice_mut().unwrap(), 10.);
        with_memory(&tensor, |memory| memory.read(4, &mut [])).unwrap();
        assert_eq!(fake.pending(), 0);
    });
}

#[test]
fn what_another_stream_writes_is_waited_for_where_cudarc_keeps_track() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let (owner, other) = (device.context().new_stream().unwrap(), device.context().new_stream().unwrap());
        let kernels = Kernels::load(fake, &other);
        let host = TensorBuf::from_f32(DType::Float32, &[2], &[1., 2.]).unwrap();
        let mut tensor = device.upload(&owner, &host).unwrap();
        kernels.add(&mut tensor.slice_mut().unwrap(), 1.);
        assert_eq!(tensor.to_host().unwrap().to_f32().unwrap(), [2., 3.]);
    });
}

#[test]
fn strides_and_offset_stay_and_the_storage_is_shared() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut whole = floats(&device, &[0., 1., 2., 3., 4., 5., 6., 7.]);
        let columns = whole.with_layout(Layout::new(&[3, 2], &[1, 4], 1).unwrap()).unwrap();
        assert_eq!(whole.as_view().storage.id, columns.as_view().storage.id);
        let back = columns.to_host().unwrap();
        assert_eq!((back.layout().strides(), back.layout().offset()), ([1, 4].as_slice(), 1));
        assert_eq!(back.to_f32().unwrap(), [1., 5., 2., 6., 3., 7.]);
        // Who writes through one is seen through the other.
        kernels.add(&mut whole.slice_mut().unwrap(), 10.);
        assert_eq!(columns.to_host().unwrap().to_f32().unwrap(), [11., 15., 12., 16., 13., 17.]);
        let elsewhere = floats(&device, &[0.]);
        assert_ne!(whole.as_view().storage.id, elsewhere.as_view().storage.id);
    });
}

#[test]
fn a_layout_that_reaches_too_far_is_refused() {
    on_fake(|_| {
        let device = CudaDevice::open(0).unwrap();
        let slice = device.default_stream().alloc_zeros::<f32>(5).unwrap();
        let error = device.tensor(slice, Layout::contiguous(&[6]).unwrap()).unwrap_err();
        assert!(matches!(error, CudaError::Layout(_)), "{error}");
    });
}

#[test]
fn a_slice_of_any_element_type_is_a_tensor_of_its_dtype() {
    fn check<T>(device: &CudaDevice, dtype: DType)
    where
        T: callbox_kernels_cuda::Element + callbox_kernels_cuda::cudarc::driver::ValidAsZeroBits,
    {
        let slice = device.default_stream().alloc_zeros::<T>(3).unwrap();
        let tensor = device.tensor(slice, Layout::contiguous(&[3]).unwrap()).unwrap();
        let back = tensor.to_host().unwrap();
        assert_eq!((tensor.dtype(), back.dtype()), (dtype, dtype));
        assert_eq!(back.storage(), vec![0; 3 * dtype.item_size()]);
        assert!(tensor.slice::<T>().is_some_and(|slice| slice.len() == 3));
        // An upload of that dtype is a slice of the same elements.
        let uploaded = device.upload(&device.default_stream(), &back).unwrap();
        assert!(uploaded.slice::<T>().is_some());
    }
    on_fake(|_| {
        let device = CudaDevice::open(0).unwrap();
        check::<f64>(&device, DType::Float64);
        check::<f32>(&device, DType::Float32);
        check::<half::f16>(&device, DType::Float16);
        check::<half::bf16>(&device, DType::BFloat16);
        check::<float8::F8E4M3>(&device, DType::Float8E4M3Fn);
        check::<float8::F8E5M2>(&device, DType::Float8E5M2);
        check::<i64>(&device, DType::Int64);
        check::<i32>(&device, DType::Int32);
        check::<i16>(&device, DType::Int16);
        check::<i8>(&device, DType::Int8);
        check::<u64>(&device, DType::UInt64);
        check::<u32>(&device, DType::UInt32);
        check::<u16>(&device, DType::UInt16);
        check::<u8>(&device, DType::UInt8);
    });
}

#[test]
fn bytes_are_taken_for_elements_of_any_dtype() {
    on_fake(|_| {
        let device = CudaDevice::open(0).unwrap();
        let bytes = device.upload(&device.default_stream(), &counting(16)).unwrap();
        let layout = Layout::contiguous(&[2, 4]).unwrap();
        let packed = bytes.with_dtype(DType::Float4E2M1FnX2, layout.clone()).unwrap();
        assert_eq!(packed.to_host().unwrap().to_bytes(), counting_bytes(0, 8));
        assert!(packed.slice::<f32>().is_none() && packed.slice::<u8>().is_some());
        assert!(matches!(bytes.with_dtype(DType::Complex64, layout), Err(CudaError::Layout(_))));
    });
}

#[test]
fn a_tensor_of_another_context_is_refused() {
    on_fake(|fake| {
        fake.set_device_count(2);
        let (first, second) = (CudaDevice::open(0).unwrap(), CudaDevice::open(1).unwrap());
        let slice = second.default_stream().alloc_zeros::<u8>(4).unwrap();
        let error = first.tensor(slice, Layout::contiguous(&[4]).unwrap()).unwrap_err();
        assert_eq!(error, CudaError::OtherContext);
        let error = first.upload(&second.default_stream(), &counting(4)).unwrap_err();
        assert_eq!(error, CudaError::OtherContext);
        let tensor = first.upload(&first.default_stream(), &counting(4)).unwrap();
        assert_eq!(tensor.use_on(&second.default_stream()), Err(CudaError::OtherContext));
    });
}

#[test]
fn the_context_that_was_current_is_current_again() {
    on_fake(|fake| {
        fake.set_device_count(2);
        let (first, second) = (CudaDevice::open(0).unwrap(), CudaDevice::open(1).unwrap());
        let tensor = first.upload(&first.default_stream(), &counting(4)).unwrap();
        second.context().bind_to_thread().unwrap();
        let current = callbox_kernels_cuda::cudarc::driver::result::ctx::get_current().unwrap();
        tensor.to_host().unwrap();
        with_memory(&tensor, |memory| assert!(!memory.capturing()));
        assert_eq!(callbox_kernels_cuda::cudarc::driver::result::ctx::get_current().unwrap(), current);
    });
}

#[test]
fn memory_without_pools_comes_back_and_goes() {
    on_fake(|fake| {
        fake.set_memory_pools(false);
        let device = CudaDevice::open(0).unwrap();
        let tensor = device.upload(&device.default_stream(), &counting(77)).unwrap();
        assert_eq!(tensor.to_host().unwrap().storage(), counting(77).storage());
    });
}

#[test]
fn while_a_tensor_is_read_nothing_else_is_allocated() {
    on_fake(|fake| {
        let device = device(32);
        let tensor = device.upload(&device.default_stream(), &counting(1000)).unwrap();
        let before = fake.log().len();
        tensor.to_host().unwrap();
        let calls = fake.log().split_off(before);
        assert!(!calls.iter().any(|call| call.contains("Alloc")), "{calls:?}");
    });
}

/// cudarc frees in whatever context is current, and a thread may have none.
#[test]
fn a_tensor_may_be_dropped_on_any_thread() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let before = fake.live_allocations();
        let tensor = device.upload(&device.default_stream(), &counting(4)).unwrap();
        std::thread::spawn(move || drop(tensor)).join().unwrap();
        assert_eq!(fake.live_allocations(), before);
        assert_eq!(device.context().check_err(), Ok(()));
    });
}
