//! Calls that were captured into a graph, dumped after each launch.

use std::fs;

use callbox::core::{CallState, DumpSource, Group, LoadedTensor};
use callbox::{Ending, Level, record};
use callbox_cuda_driver_tests::on_fake;
use callbox_kernels_cuda::{CudaDevice, DeviceTensor};

use crate::capture::{Capturing, FORBIDDEN};
use crate::kernels::Kernels;
use crate::recording::{Recording, add, call_folder};

/// The elements of a tensor in a session, or in one flush of it.
fn elements(folder: &std::path::Path, group: Group, key: &str) -> Vec<f32> {
    let source = callbox::open_session(folder).unwrap();
    let session = source.calls().unwrap();
    let [call] = session.calls.as_slice() else { panic!("{session:?}") };
    assert_eq!((&call.state, session.findings.len()), (&CallState::Completed, 0), "{session:?}");
    let tensors = source.load(call, group).unwrap().unwrap();
    let Some(LoadedTensor::Whole(tensor)) = tensors.get(key) else { panic!("{key} in {tensors:?}") };
    tensor.to_f32().unwrap()
}

#[test]
fn each_launch_is_dumped_when_the_application_says_that_it_ran() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let recording = Recording::at(Level::Dumps);
        capturing.begin();
        let Capturing { kernels, tensor, .. } = &mut capturing;
        add(tensor, 10., kernels, &mut || ());
        let before = fake.log().len();
        assert_eq!(callbox::flush_graph_dumps(), 0, "it is still captured");
        let calls = fake.log().split_off(before);
        assert!(!calls.iter().any(|call| FORBIDDEN.contains(&call.as_str())), "{calls:?}");

        let graph = capturing.end();
        let folder = call_folder(&recording.dumps());
        for (launch, expected) in [(1, [11., 12.]), (2, [21., 22.])] {
            graph.launch().unwrap();
            // Nothing has run when this returns: the flush waits for it.
            assert!(fake.pending() > 0);
            assert_eq!(callbox::flush_graph_dumps(), 2);
            for place in [recording.dumps(), folder.join(format!("graph_flushes/flush_{launch:04}"))] {
                for (group, key) in
                    [(Group::Inputs, "arg_0"), (Group::Outputs, "result"), (Group::ArgsAfter, "arg_0")]
                {
                    assert_eq!(elements(&place, group, key), expected, "{group:?} in {}", place.display());
                }
            }
        }
        let first = folder.join("graph_flushes/flush_0001");
        assert_eq!(elements(&first, Group::Outputs, "result"), [11., 12.], "it stays");
        assert_eq!((recording.count(Ending::Captured), recording.faults()), (1, 0), "{}", recording.log());
        drop(graph);
    });
}

#[test]
fn a_captured_call_keeps_its_memory_until_it_is_cleared() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let recording = Recording::at(Level::Dumps);
        capturing.begin();
        let Capturing { kernels, tensor, .. } = &mut capturing;
        add(tensor, 10., kernels, &mut || ());
        drop(capturing.end());
        let Capturing { device, tensor, .. } = capturing;
        let held = fake.live_allocations();
        drop(tensor);
        assert_eq!(fake.live_allocations(), held, "a flush may come");
        assert_eq!(callbox::clear_graph_dumps(), 2);
        assert_eq!(fake.live_allocations(), held - 1);
        let log = recording.log();
        drop(recording);
        drop(device);
        assert!(log.contains("graph-deferred"), "{log}");
    });
}

/// The graph's input belongs to the default stream, and nothing else of the call to the stream that records.
#[test]
fn a_tensor_that_another_stream_works_with_is_captured_with_that_stream() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let mut input = crate::floats(&capturing.device, &[1., 2.]);
        input.use_on(&capturing.stream).unwrap();
        let recording = Recording::at(Level::Dumps);
        capturing.begin();
        let Capturing { kernels, .. } = &mut capturing;
        add(&mut input, 10., kernels, &mut || ());
        let graph = capturing.end();
        assert_eq!(recording.count(Ending::Captured), 1, "{}", recording.log());
        graph.launch().unwrap();
        // On the stream that works with it the launch is still pending.
        assert!(fake.pending() > 0);
        assert_eq!(callbox::flush_graph_dumps(), 2);
        assert_eq!(elements(&recording.dumps(), Group::Outputs, "result"), [11., 12.]);
        graph.launch().unwrap();
        assert_eq!(input.to_host().unwrap().to_f32().unwrap(), [21., 22.]);
        drop(graph);
    });
}

/// Whoever writes may be waiting for the recorder: a slice that is held across a recorded call, or a flush.
#[test]
fn memory_that_is_locked_for_writing_costs_the_dump_and_never_hangs() {
    on_fake(|fake| {
        let device = CudaDevice::open(0).unwrap();
        let kernels = Kernels::load(fake, &device.default_stream());
        let mut tensor = crate::floats(&device, &[1., 2.]);
        let mut other = tensor.clone();
        let recording = Recording::at(Level::Dumps);
        let slice = tensor.slice_mut::<f32>().unwrap();
        add_nothing(&other);
        drop(slice);
        assert_eq!(recording.count(Ending::NotRecorded), 1, "{}", recording.log());
        assert!(recording.log().contains("the memory is locked for writing"), "{}", recording.log());
        add(&mut other, 10., &kernels, &mut || ());
        assert_eq!(recording.count(Ending::Recorded), 1);
    });
}

#[record(skip_result)]
fn add_nothing(tensor: &DeviceTensor) -> usize {
    tensor.layout().numel()
}

/// A device that fails for good costs the flush, and what was flushed before stays as it is.
#[test]
fn a_flush_that_the_device_fails_leaves_the_one_before() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        let recording = Recording::at(Level::Dumps);
        capturing.begin();
        let Capturing { kernels, tensor, .. } = &mut capturing;
        add(tensor, 10., kernels, &mut || ());
        let graph = capturing.end();
        graph.launch().unwrap();
        assert_eq!(callbox::flush_graph_dumps(), 2);
        graph.launch().unwrap();
        fake.inject("cuMemcpyDtoHAsync_v2", 2, 999);
        assert_eq!(callbox::flush_graph_dumps(), 0);
        assert_eq!(recording.faults(), 1, "{}", recording.log());
        let folder = call_folder(&recording.dumps());
        assert!(!folder.join("graph_flushes/flush_0002").exists(), "nothing is left of it");
        assert_eq!(elements(&recording.dumps(), Group::Outputs, "result"), [11., 12.]);
        assert_eq!(callbox::flush_graph_dumps(), 2);
        assert_eq!(elements(&recording.dumps(), Group::Outputs, "result"), [21., 22.]);
        assert_eq!(fs::read_dir(folder.join("graph_flushes")).unwrap().count(), 2);
        drop(graph);
    });
}
