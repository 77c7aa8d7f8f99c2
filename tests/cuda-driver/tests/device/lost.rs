//! What fails on the way: memory, a driver that refuses once, a device that fails for good.

use std::path::Path;

use callbox::core::{DumpSource, ExecError, error};
use callbox::replay::{SequenceOptions, Verdict, replay_sequence};
use callbox::{DType, TensorBuf};
use callbox_kernels_cuda::{CudaDevice, CudaError, CudaKernels};

use crate::call::{Call, random};
use crate::on_fake_device;

const ILLEGAL_ADDRESS: u32 = 700;

fn norm(device: &CudaDevice, input: &TensorBuf) -> Result<(), ExecError> {
    let weight = random(DType::Float32, &[4], 2);
    Call::default().with(input).with(&weight).on_cuda(device, "rmsnorm").map(drop)
}

fn cause(error: &ExecError) -> &CudaError {
    let (ExecError::Device(cause) | ExecError::DeviceLost(cause)) = error else { panic!("{error:?}") };
    cause.downcast_ref().unwrap()
}

#[test]
fn a_driver_that_refuses_once_costs_one_call() {
    on_fake_device("lost::a_driver_that_refuses_once_costs_one_call", |fake, _| {
        let input = random(DType::Float32, &[2, 4], 1);
        for function in ["cuModuleLoadData", "cuModuleGetFunction", "cuMemcpyHtoDAsync_v2", "cuLaunchKernel"]
        {
            // Nothing is loaded in it.
            let device = &CudaDevice::open(0).unwrap();
            fake.inject(function, 1, 999);
            let error = norm(device, &input).unwrap_err();
            assert!(matches!(cause(&error), CudaError::Driver { code: 999, .. }), "{function}: {error:?}");
            assert!(device.context().check_err().is_ok(), "{function}");
            norm(device, &input).unwrap();
        }
    });
}

#[test]
fn a_problem_that_is_too_large_says_so_and_leaves_nothing() {
    on_fake_device("lost::a_problem_that_is_too_large_says_so_and_leaves_nothing", |fake, device| {
        let live = fake.live_allocations();
        fake.set_memory_limit(1000);
        let error = norm(device, &random(DType::Float32, &[100, 4], 1)).unwrap_err();
        assert_eq!(*cause(&error), CudaError::OutOfMemory);
        norm(device, &random(DType::Float32, &[2, 4], 1)).unwrap();
        device.default_stream().synchronize().unwrap();
        assert_eq!(fake.live_allocations(), live);
    });
}

#[test]
fn the_call_that_loses_the_device_fails_and_later_ones_are_not_tried() {
    on_fake_device(
        "lost::the_call_that_loses_the_device_fails_and_later_ones_are_not_tried",
        |fake, device| {
            let input = random(DType::Float32, &[2, 4], 1);
            fake.inject("cuLaunchKernel", 1, ILLEGAL_ADDRESS);
            let error = norm(device, &input).unwrap_err();
            assert!(matches!(error, ExecError::Device(_)), "{error:?}");
            assert!(matches!(cause(&error), CudaError::DeviceLost { code: ILLEGAL_ADDRESS, .. }));
            let asked = fake.log().len();
            let error = norm(device, &input).unwrap_err();
            assert!(matches!(error, ExecError::DeviceLost(_)), "{error:?}");
            assert!(
                error::chain(&error).starts_with("device lost: the device failed for good with"),
                "{error}"
            );
            assert_eq!(fake.log().len(), asked, "nothing more is asked of the driver");
        },
    );
}

#[test]
fn the_rest_of_a_session_is_skipped_when_the_device_is_lost() {
    on_fake_device("lost::the_rest_of_a_session_is_skipped_when_the_device_is_lost", |fake, device| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/sessions/batch_decode");
        let source = callbox::open_session(&folder).unwrap();
        let session = source.calls().unwrap();
        let kernels = CudaKernels::new(device.clone());
        let mut verdicts = Vec::new();
        // The third of the session's five runs.
        fake.inject("cuLaunchKernel", 3, ILLEGAL_ADDRESS);
        replay_sequence(
            &source,
            &session,
            &move || Box::new(kernels.clone().into_executor()),
            &|call| call.function.name().ends_with(".run"),
            &SequenceOptions::default(),
            &mut |_, replayed| verdicts.push(replayed.verdict),
        );
        let [Verdict::Passed, Verdict::Passed, Verdict::Failed { error }, rest @ ..] = &verdicts[..] else {
            panic!("{verdicts:?}")
        };
        assert!(error.contains("the device failed: the device failed for good"), "{error}");
        assert_eq!(rest.len(), 2);
        let is_skipped = |verdict: &Verdict| matches!(verdict, Verdict::Skipped { reason } if reason.starts_with("device lost: "));
        assert!(rest.iter().all(is_skipped), "{rest:?}");
    });
}
