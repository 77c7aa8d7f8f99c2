//! Calls on device tensors, recorded by the real recorder into real files.

use std::fs;
use std::path::{Path, PathBuf};

use callbox::core::{CallState, DumpSource, ExecutionStatus, Group, Layout, LoadedTensor};
use callbox::{Config, Ending, Level, LogDestination, record};
use callbox_cuda_driver_tests::{Fake, on_fake};
use callbox_kernels_cuda::{CudaDevice, DeviceTensor};
use tempfile::TempDir;

use crate::capture::Capturing;
use crate::floats;
use crate::kernels::Kernels;

/// Adds a value to each element, and returns another view of the same memory.
#[record(skip(kernels, before))]
pub(crate) fn add(
    tensor: &mut DeviceTensor,
    value: f32,
    kernels: &Kernels,
    before: &mut dyn FnMut(),
) -> DeviceTensor {
    before();
    kernels.add(&mut tensor.slice_mut().unwrap(), value);
    tensor.clone()
}

/// Leaves a fault on the stream behind, and returns as if nothing were wrong.
#[record(skip(kernels))]
fn stray(tensor: &DeviceTensor, kernels: &Kernels) -> f32 {
    let mut tensor = tensor.clone();
    kernels.stray(&mut tensor.slice_mut().unwrap());
    1.0
}

/// A recording into a folder of its own.
pub(crate) struct Recording {
    folder: TempDir,
    guard: callbox::Guard,
}

impl Recording {
    pub(crate) fn at(level: Level) -> Recording {
        let folder = TempDir::new().unwrap();
        let config = Config {
            level,
            log_destination: LogDestination::File(folder.path().join("log")),
            dump_dir: folder.path().join("dumps"),
            ..Config::default()
        };
        Recording { guard: callbox::install(config.recorder().unwrap()), folder }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub(crate) fn dumps(&self) -> PathBuf {
        self.folder.path().join("dumps")
    }

    pub(crate) fn count(&self, ending: Ending) -> u64 {
        self.guard.recorder().health().count(ending)
    }

    pub(crate) fn faults(&self) -> usize {
        self.guard.recorder().health().faults.len()
    }

    /// The state of each call, in their order.
    fn states(&self) -> Vec<CallState> {
        let session = callbox::open_session(&self.dumps()).unwrap().calls().unwrap();
        assert_eq!(session.findings, []);
        session.calls.into_iter().map(|call| call.state).collect()
    }
}

/// The only call folder.
pub(crate) fn call_folder(dumps: &Path) -> PathBuf {
    let folders = fs::read_dir(dumps).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    folders.pop().unwrap()
}

fn columns(device: &CudaDevice) -> DeviceTensor {
    let whole = floats(device, &[0., 1., 2., 3., 4., 5., 6., 7.]);
    whole.with_layout(Layout::new(&[3, 2], &[1, 4], 1).unwrap()).unwrap()
}

#[test]
fn inputs_of_a_device_are_on_disk_before_the_call_and_outputs_after_it() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = columns(&device);
        let recording = Recording::at(Level::Dumps);
        let dumps = recording.dumps();
        add(&mut tensor, 10., &kernels, &mut || {
            let folder = call_folder(&dumps);
            assert!(folder.join("inputs.pt").exists());
            let metadata = fs::read_to_string(folder.join("metadata.jsonl")).unwrap();
            assert!(metadata.contains("inputs_saved") && metadata.contains("cuda:0"), "{metadata}");
        });
        assert_eq!((recording.count(Ending::Recorded), recording.faults()), (1, 0), "{}", recording.log());
        check_dump(&recording.dumps());
    });
}

/// Looks at what the call `add` has left: the device's name and strides as they were, and the elements of before and after.
fn check_dump(dumps: &Path) {
    let source = callbox::open_session(dumps).unwrap();
    let session = source.calls().unwrap();
    let [call] = session.calls.as_slice() else { panic!("{session:?}") };
    assert_eq!(call.state, CallState::Completed);
    let before = [1., 5., 2., 6., 3., 7.];
    for (group, key, elements) in [
        (Group::Inputs, "arg_0", before),
        (Group::Outputs, "result", before.map(|element| element + 10.)),
        (Group::ArgsAfter, "arg_0", before.map(|element| element + 10.)),
    ] {
        let loaded = source.load(call, group).unwrap().unwrap();
        let LoadedTensor::Whole(tensor) = loaded.get(key).unwrap() else {
            panic!("{group:?} without elements")
        };
        assert_eq!(
            (tensor.layout().strides(), tensor.shape()),
            ([1, 4].as_slice(), [3, 2].as_slice()),
            "{group:?}"
        );
        assert_eq!(tensor.to_f32().unwrap(), elements, "{group:?}");
    }
    let record = source.record(call).unwrap().record;
    assert!(record.tensor_details.iter().all(|(_, meta)| meta.device == "cuda:0"), "{record:?}");
}

#[test]
fn statistics_are_those_of_what_the_stream_has_done() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = floats(&device, &[1., 2., f32::NAN, 5.]);
        kernels.add(&mut tensor.slice_mut().unwrap(), -2.);
        let recording = Recording::at(Level::Statistics);
        add(&mut tensor.with_layout(Layout::contiguous(&[2]).unwrap()).unwrap(), 10., &kernels, &mut || ());
        let log = recording.log();
        let numbers: Vec<_> = log
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("min") || line.starts_with("mean"))
            .collect();
        assert_eq!(numbers, ["min=-1.000000", "mean=-0.500000", "min=9.000000", "mean=9.500000"], "{log}");
        assert!(log.contains("cuda:0"), "{log}");
        assert_eq!(recording.count(Ending::Logged), 1);
    });
}

#[test]
fn a_capture_is_left_alone_and_its_dump_waits_for_a_flush() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let recording = Recording::at(Level::Dumps);
        capturing.begin();
        let Capturing { kernels, tensor, .. } = &mut capturing;
        add(tensor, 10., kernels, &mut || ());
        assert_eq!((recording.count(Ending::Captured), recording.faults()), (1, 0), "{}", recording.log());
        let skipped = recording.log().matches("[statistics skipped: CUDA graph capture in progress]").count();
        assert!(skipped >= 2, "one for the argument and one for the result: {}", recording.log());
        let folder = call_folder(&recording.dumps());
        assert!(!folder.join("inputs.pt").exists());
        let session = fs::read_to_string(recording.dumps().join("session.jsonl")).unwrap();
        assert_eq!(session.matches("\"graph_capture_pending_flush\"").count(), 2, "{session}");
        drop(recording);
        // The graph is whole, and does what was captured.
        capturing.end_and_launch_twice();
        assert_eq!(capturing.tensor.to_host().unwrap().to_f32().unwrap(), [21., 22.]);
    });
}

#[test]
fn a_fault_that_a_kernel_leaves_behind_is_the_call_s_and_never_completed() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let tensor = floats(&device, &[1., 2.]);
        let recording = Recording::at(Level::Dumps);
        assert_eq!(stray(&tensor, &kernels), 1.0, "the application gets what it would get");
        assert_eq!(recording.count(Ending::Failed), 1, "{}", recording.log());
        assert_eq!(recording.states(), [CallState::Failed]);
        let session = fs::read_to_string(recording.dumps().join("session.jsonl")).unwrap();
        assert!(session.contains("CUDA_ERROR_ILLEGAL_ADDRESS (700)"), "{session}");
        assert!(!session.contains(ExecutionStatus::Completed.as_str()), "{session}");
        // The next one has nothing that could be read: it runs, and is counted as lost.
        assert_eq!(recording.count(Ending::NotRecorded), 0);
        add_value(&tensor);
        assert_eq!(recording.count(Ending::NotRecorded), 1);
    });
}

/// Does nothing on the device.
#[record(skip_result)]
fn add_value(tensor: &DeviceTensor) -> usize {
    tensor.layout().numel()
}

#[test]
fn a_fault_on_the_stream_of_any_tensor_of_the_call_is_found() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let stream = device.context().new_stream().unwrap();
        let kernels = Kernels::load(fake, &stream);
        let quiet = floats(&device, &[1.]);
        let host = callbox::TensorBuf::from_f32(callbox::DType::Float32, &[1], &[2.]).unwrap();
        let strayed = device.upload(&stream, &host).unwrap();
        let recording = Recording::at(Level::Dumps);
        stray_on_second(&quiet, &strayed, &kernels);
        assert_eq!(recording.states(), [CallState::Failed], "{}", recording.log());
    });
}

/// Leaves a fault behind on the stream of its second argument.
#[record(skip(kernels))]
fn stray_on_second(first: &DeviceTensor, second: &DeviceTensor, kernels: &Kernels) -> usize {
    kernels.stray(&mut second.clone().slice_mut().unwrap());
    first.layout().numel()
}

#[test]
fn a_device_that_fails_while_it_is_read_costs_the_call_its_dump_alone() {
    on_fake(|fake: Fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = floats(&device, &[1., 2.]);
        let recording = Recording::at(Level::Dumps);
        fake.inject("cuMemcpyDtoHAsync_v2", 1, 999);
        add(&mut tensor, 10., &kernels, &mut || ());
        assert_eq!((recording.count(Ending::NotRecorded), recording.faults()), (1, 1), "{}", recording.log());
        assert_eq!(tensor.to_host().unwrap().to_f32().unwrap(), [11., 12.]);
        add(&mut tensor, 10., &kernels, &mut || ());
        assert_eq!(recording.states(), [CallState::Completed]);
    });
}

#[test]
fn a_tensor_that_the_call_uses_up_is_freed_when_the_call_has_ended() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let before = fake.live_allocations();
        let tensor = floats(&device, &[1., 2.]);
        let recording = Recording::at(Level::Dumps);
        assert_eq!(use_up(tensor), 2);
        assert_eq!(recording.states(), [CallState::Completed]);
        assert_eq!(fake.live_allocations(), before);
    });
}

/// Frees its argument.
#[record]
fn use_up(tensor: DeviceTensor) -> usize {
    tensor.layout().numel()
}
