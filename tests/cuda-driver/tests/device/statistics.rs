//! Statistics that the device takes: those of the core, of which only the numbers travel.

use callbox::core::{Layout, Statistics, Stats, StorageBytes};
use callbox::{DType, TensorBuf};
use callbox_kernels_cuda::{CudaDevice, DeviceTensor};

use crate::call::{elsewhere, random};
use crate::{on_device, on_fake_device};

fn upload(device: &CudaDevice, tensor: &TensorBuf) -> DeviceTensor {
    device.upload(&device.default_stream(), tensor).unwrap()
}

/// Asks the port; `None`: the device leaves it to others.
fn on_the_device(tensor: &DeviceTensor) -> Option<Stats> {
    let view = tensor.as_view();
    let StorageBytes::Device(memory) = view.storage.bytes else { panic!("it is on a device") };
    memory.statistics(&view.layout)
}

fn near(actual: f32, expected: f32) -> bool {
    actual == expected || (actual.is_nan() && expected.is_nan()) || (actual - expected).abs() <= 1e-5
}

#[track_caller]
fn check(device: &CudaDevice, tensor: &TensorBuf) {
    let (actual, expected) = (on_the_device(&upload(device, tensor)).unwrap(), Stats::of(tensor).unwrap());
    let agrees = match (actual, expected) {
        (
            Stats::Float { min, max, mean, special },
            Stats::Float { min: least, max: greatest, mean: middle, special: counts },
        ) => near(min, least) && near(max, greatest) && near(mean, middle) && special == counts,
        (Stats::Integer { min, max, mean }, Stats::Integer { min: least, max: greatest, mean: middle }) => {
            (min, max) == (least, greatest) && near(mean, middle)
        }
        _ => false,
    };
    assert!(agrees, "{actual:?}, the core has {expected:?} for {tensor:?}");
}

#[test]
fn they_are_those_of_the_core() {
    on_device("statistics::they_are_those_of_the_core", |_, device| {
        for dtype in [DType::Float64, DType::Float32, DType::Float16, DType::BFloat16, DType::Float8E4M3Fn] {
            for shape in [&[1][..], &[5, 7], &[3, 1, 50], &[10_000]] {
                let tensor = random(dtype, shape, 1);
                check(device, &tensor);
                // Marked ones are asked of no device.
                elsewhere(&tensor)[..2].iter().for_each(|tensor| check(device, tensor));
            }
        }
        let special = [f32::NAN, 1.0, f32::INFINITY, f32::NEG_INFINITY];
        for count in 1..=4 {
            check(device, &TensorBuf::from_f32(DType::Float16, &[count], &special[4 - count..]).unwrap());
        }
        for dtype in [DType::Int64, DType::Int32, DType::Int16, DType::Int8, DType::UInt8] {
            let bytes = (0..8 * dtype.item_size()).map(|place| (place * 37 % 3) as u8).collect();
            check(device, &TensorBuf::from_elements(dtype, &[2, 4], bytes).unwrap());
        }
    });
}

#[test]
fn where_there_is_no_kernel_the_bytes_are_read() {
    on_device("statistics::where_there_is_no_kernel_the_bytes_are_read", |_, device| {
        let tensor = |dtype: DType, shape: &[usize]| {
            let bytes = vec![1; shape.iter().product::<usize>() * dtype.item_size()];
            upload(device, &TensorBuf::from_elements(dtype, shape, bytes).unwrap())
        };
        for without in [DType::Bool, DType::UInt32, DType::Float8E8M0Fnu, DType::Complex64] {
            assert_eq!(on_the_device(&tensor(without, &[4])), None, "{without}");
        }
        assert_eq!(on_the_device(&tensor(DType::Float32, &[0])), None);
        // Bytes that are named by another dtype are taken for that.
        let bytes = tensor(DType::UInt8, &[8]);
        assert!(matches!(on_the_device(&bytes), Some(Stats::Integer { min: 1, max: 1, .. })));
        let named = bytes.with_dtype(DType::Int16, Layout::contiguous(&[4]).unwrap()).unwrap();
        assert!(matches!(on_the_device(&named), Some(Stats::Integer { min: 257, max: 257, .. })));
        let bools = bytes.with_dtype(DType::Bool, Layout::contiguous(&[8]).unwrap()).unwrap();
        assert_eq!(on_the_device(&bools), None);
        // More elements than the storage has, and more dimensions than a kernel takes.
        let one = tensor(DType::Float32, &[1]);
        let many = one.with_layout(Layout::new(&[1 << 40], &[0], 0).unwrap()).unwrap();
        assert_eq!(on_the_device(&many), None);
        assert!(matches!(Statistics::of(&many.as_view()), Statistics::Taken(_)));
    });
}

#[test]
fn only_the_numbers_travel() {
    on_fake_device("statistics::only_the_numbers_travel", |fake, device| {
        let tensor = upload(device, &random(DType::Float32, &[100_000], 1));
        let before = fake.calls("cuMemcpyDtoHAsync_v2");
        assert!(matches!(Statistics::of(&tensor.as_view()), Statistics::Taken(_)));
        let copies = fake.calls("cuMemcpyDtoHAsync_v2") - before;
        // 400 000 bytes would fit the buffer for staging as well: it is the kernels that tell.
        assert_eq!((copies, fake.calls("cuLaunchKernel")), (1, 2));
    });
}

#[test]
fn what_fails_is_left_to_the_recorder() {
    on_fake_device("statistics::what_fails_is_left_to_the_recorder", |fake, device| {
        let tensor = upload(device, &random(DType::Float32, &[10], 1));
        let expected = Stats::of(&random(DType::Float32, &[10], 1));
        for function in ["cuModuleLoadData", "cuModuleGetFunction", "cuLaunchKernel", "cuMemcpyDtoHAsync_v2"]
        {
            fake.inject(function, 1, 999);
            assert_eq!(on_the_device(&tensor), None, "{function}");
            fake.inject(function, 1, 999);
            let taken = Statistics::of(&tensor.as_view());
            let is_taken = expected.is_some_and(|expected| taken == Statistics::Taken(expected));
            assert!(is_taken || function == "cuMemcpyDtoHAsync_v2", "{function}: {taken:?}");
            assert!(device.context().check_err().is_ok());
        }
    });
}

#[test]
fn a_stream_that_records_a_graph_is_left_alone() {
    on_device("statistics::a_stream_that_records_a_graph_is_left_alone", |_, device| {
        use callbox_kernels_cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
        let stream = device.context().new_stream().unwrap();
        let tensor = device.upload(&stream, &random(DType::Float32, &[10], 1)).unwrap();
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        assert_eq!(on_the_device(&tensor), None);
        assert_eq!(Statistics::of(&tensor.as_view()), Statistics::Capturing);
        stream.end_capture(CUgraphInstantiate_flags(0)).unwrap();
        assert!(on_the_device(&tensor).is_some());
    });
}

#[test]
fn the_first_ones_leave_a_capture_of_another_thread_alone() {
    on_device("statistics::the_first_ones_leave_a_capture_of_another_thread_alone", |_, device| {
        use callbox_kernels_cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
        let stream = device.context().new_stream().unwrap();
        let tensor = upload(device, &random(DType::Float32, &[10], 1));
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        let taken = std::thread::scope(|scope| scope.spawn(|| on_the_device(&tensor)).join().unwrap());
        let ended = stream.end_capture(CUgraphInstantiate_flags(0));
        assert!(ended.is_ok(), "the capture is spoiled: {:?}", ended.err());
        assert!(taken.is_some());
    });
}
