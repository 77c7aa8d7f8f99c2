//! While a stream records a graph.

use std::sync::Arc;
use std::thread;

use callbox::core::{StageError, Statistics, StorageBytes};
use callbox::{DType, TensorBuf};
use callbox_cuda_driver_tests::{Fake, on_fake};
use callbox_kernels_cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use callbox_kernels_cuda::cudarc::driver::{CudaGraph, CudaStream};
use callbox_kernels_cuda::{CudaDevice, CudaError, DeviceTensor};

use crate::kernels::{Kernels, exchange_capture_mode};

/// What an application captures with: a stream of its own, a tensor on it, and a kernel.
pub(crate) struct Capturing {
    pub(crate) device: CudaDevice,
    pub(crate) stream: Arc<CudaStream>,
    pub(crate) kernels: Kernels,
    pub(crate) tensor: DeviceTensor,
}

impl Capturing {
    pub(crate) fn new(fake: Fake) -> Capturing {
        let device = CudaDevice::open(0).unwrap();
        let stream = device.context().new_stream().unwrap();
        // Events that were recorded before a capture may not be waited for in it: whoever captures turns them off.
        disable_event_tracking(&device);
        let kernels = Kernels::load(fake, &stream);
        let host = TensorBuf::from_f32(DType::Float32, &[2], &[1., 2.]).unwrap();
        let tensor = device.upload(&stream, &host).unwrap();
        Capturing { device, stream, kernels, tensor }
    }

    pub(crate) fn begin(&self) {
        self.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
    }

    /// Ends the capture.
    pub(crate) fn end(&self) -> CudaGraph {
        self.stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap()
    }

    /// Ends the capture and launches the graph twice.
    pub(crate) fn end_and_launch_twice(&self) {
        let graph = self.end();
        graph.launch().unwrap();
        graph.launch().unwrap();
    }
}

fn disable_event_tracking(device: &CudaDevice) {
    crate::kernels::disable_event_tracking(device.context());
}

/// The driver's calls that wait, allocate or copy to the host.
pub(crate) const FORBIDDEN: [&str; 8] = [
    "cuStreamSynchronize",
    "cuCtxSynchronize",
    "cuEventSynchronize",
    "cuEventQuery",
    "cuMemAlloc_v2",
    "cuMemAllocAsync",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
];

#[test]
fn nothing_is_waited_for_and_the_capture_goes_on() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        capturing.begin();
        capturing.kernels.add(&mut capturing.tensor.slice_mut().unwrap(), 10.);
        let before = fake.log().len();

        let view = capturing.tensor.as_view();
        let StorageBytes::Device(memory) = view.storage.bytes else { panic!("it is on a device") };
        assert!(memory.capturing());
        let StageError::NotNow(cause) = memory.read(0, &mut [0; 4]).unwrap_err() else {
            panic!("it is refused")
        };
        assert_eq!(cause.downcast_ref(), Some(&CudaError::Capturing));
        assert!(memory.read(0, &mut []).is_err());
        assert_eq!(Statistics::of(&view), Statistics::Capturing);
        assert_eq!(capturing.tensor.to_host().unwrap_err(), CudaError::Capturing);
        let refused = capturing.device.upload(&capturing.stream, &crate::counting(3));
        assert_eq!(refused.unwrap_err(), CudaError::Capturing);
        let retained = memory.retain().unwrap();

        let mut calls = fake.log().split_off(before);
        calls.retain(|call| FORBIDDEN.contains(&call.as_str()));
        assert!(calls.is_empty(), "called while the stream captures: {calls:?}");
        capturing.end_and_launch_twice();
        // What was kept for later is what the graph has written.
        let mut bytes = [0; 4];
        retained.read(4, &mut bytes).unwrap();
        assert_eq!(f32::from_le_bytes(bytes), 22.);
    });
}

#[test]
fn a_tensor_of_another_stream_is_read_and_leaves_the_capture_alone() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let other = capturing.device.context().new_stream().unwrap();
        let elsewhere = capturing.device.upload(&other, &crate::counting(9)).unwrap();
        capturing.begin();
        capturing.kernels.add(&mut capturing.tensor.slice_mut().unwrap(), 10.);
        assert_eq!(elsewhere.to_host().unwrap().storage(), crate::counting(9).storage());
        capturing.end_and_launch_twice();
        assert_eq!(capturing.tensor.to_host().unwrap().to_f32().unwrap(), [21., 22.]);
    });
}

/// The first statistics load their kernels and allocate, which a capture in global mode forbids to every thread that has
/// not said otherwise.
#[test]
fn first_statistics_on_another_thread_leave_a_capture_alone() {
    use CUstreamCaptureMode::{
        CU_STREAM_CAPTURE_MODE_GLOBAL as GLOBAL, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as LOCAL,
    };
    for (has_memory_pools, own_mode) in [(true, GLOBAL), (false, GLOBAL), (true, LOCAL)] {
        on_fake(|fake| {
            fake.set_memory_pools(has_memory_pools);
            let mut capturing = Capturing::new(fake);
            let other = capturing.device.context().new_stream().unwrap();
            let elsewhere = capturing.device.upload(&other, &crate::counting(9)).unwrap();
            capturing.begin();
            capturing.kernels.add(&mut capturing.tensor.slice_mut().unwrap(), 10.);
            let before = fake.calls("cuModuleLoadData");
            thread::scope(|scope| {
                scope.spawn(|| {
                    exchange_capture_mode(own_mode);
                    assert!(matches!(Statistics::of(&elsewhere.as_view()), Statistics::Taken(_)));
                    assert_eq!(exchange_capture_mode(GLOBAL), own_mode, "the thread's mode is what it was");
                });
            });
            assert_eq!(fake.calls("cuModuleLoadData"), before + 1, "the kernels are loaded only now");
            let graph = capturing.stream.end_capture(CUgraphInstantiate_flags(0));
            assert!(graph.is_ok_and(|graph| graph.is_some()), "the capture is spoiled");
        });
    }
}

#[test]
fn a_capture_that_the_application_spoiled_counts_until_it_is_ended() {
    on_fake(|fake| {
        let capturing = Capturing::new(fake);
        capturing.begin();
        capturing.stream.synchronize().unwrap_err();
        assert_eq!(capturing.tensor.to_host().unwrap_err(), CudaError::Capturing);
        assert!(capturing.stream.end_capture(CUgraphInstantiate_flags(0)).is_err());
        assert_eq!(capturing.tensor.to_host().unwrap().to_f32().unwrap(), [1., 2.]);
    });
}

#[test]
fn the_default_stream_counts_while_a_stream_that_it_waits_for_captures() {
    on_fake(|fake| {
        let capturing = Capturing::new(fake);
        let tensor = crate::floats(&capturing.device, &[5.]);
        let blocking = crate::kernels::blocking_stream(capturing.device.context());
        blocking.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).unwrap();
        assert_eq!(tensor.to_host().unwrap_err(), CudaError::Capturing);
        let graph = blocking.end_capture(CUgraphInstantiate_flags(0)).unwrap();
        assert!(graph.is_some(), "the capture is whole");
        assert_eq!(tensor.to_host().unwrap().to_f32().unwrap(), [5.]);
        crate::kernels::destroy(&blocking);
    });
}

/// A tensor that was read before must not have an event of ours that a capture may not wait for.
#[test]
fn reading_a_tensor_leaves_no_mark_that_spoils_a_later_capture() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let stream = device.context().new_stream().unwrap();
        let kernels = Kernels::load(fake, &stream);
        let slice = crate::kernels::unwritten(&stream, 2);
        let mut tensor = device.tensor(slice, callbox::core::Layout::contiguous(&[2]).unwrap()).unwrap();
        tensor.to_host().unwrap();
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        kernels.add(&mut tensor.slice_mut().unwrap(), 1.);
        assert!(stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().is_some());
    });
}

#[test]
fn a_tensor_that_is_dropped_meanwhile_is_freed_afterwards() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let before = fake.live_allocations();
        let dropped = capturing.device.upload(&capturing.stream, &crate::counting(3)).unwrap();
        capturing.begin();
        capturing.kernels.add(&mut capturing.tensor.slice_mut().unwrap(), 10.);
        drop(dropped);
        assert_eq!(fake.live_allocations(), before + 1);
        capturing.end_and_launch_twice();
        assert_eq!(capturing.tensor.to_host().unwrap().to_f32().unwrap(), [21., 22.]);
        // The next one to go takes it along.
        drop(capturing.device.upload(&capturing.stream, &crate::counting(3)).unwrap());
        assert_eq!(fake.live_allocations(), before);
    });
}
