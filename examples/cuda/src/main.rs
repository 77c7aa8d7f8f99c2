#![doc = include_str!("../README.md")]
#![expect(unsafe_code, reason = "switching cudarc's event tracking off is")]
#![expect(clippy::print_stdout, reason = "it says what it did")]

use std::sync::Arc;

use callbox::core::Layout;
use callbox::cuda::cudarc::driver::CudaStream;
use callbox::cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};
use callbox::cuda::{CudaDevice, CudaError, DeviceTensor};

const ELEMENTS: usize = 4;

/// Copies `x` into `out`; in an engine this launches a kernel.
#[callbox::record(skip(stream), writes(out))]
fn copy(stream: &Arc<CudaStream>, x: &DeviceTensor, out: &mut DeviceTensor) -> Result<(), CudaError> {
    let source = x.slice::<f32>().expect("it was made of floats");
    let mut target = out.slice_mut::<f32>().expect("it was made of floats");
    Ok(stream.memcpy_dtod(&*source, &mut *target)?)
}

fn main() -> anyhow::Result<()> {
    let _recording = callbox::from_env();
    let device = match CudaDevice::open(0) {
        Ok(device) => device,
        Err(error @ CudaError::Unavailable(_)) => {
            println!("{error}");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    run(&device)
}

fn run(device: &CudaDevice) -> anyhow::Result<()> {
    // Before anything is allocated: an event of before the capture would spoil it.
    // SAFETY: all work is on one stream, whose order is the program's.
    unsafe { device.context().disable_event_tracking() };
    let stream = device.context().new_stream()?;
    let (x, mut out) = (floats(device, &stream, 1.)?, floats(device, &stream, 0.)?);
    copy(&stream, &x, &mut out)?;

    stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)?;
    copy(&stream, &x, &mut out)?;
    let graph = stream.end_capture(CUgraphInstantiate_flags(0))?.expect("the stream was capturing");
    for launch in 1..=2 {
        graph.launch()?;
        println!("launch {launch}: {} groups of tensors written", callbox::flush_graph_dumps());
    }
    // The graph is given up, and its tensors with it.
    drop(graph);
    callbox::clear_graph_dumps();
    Ok(())
}

/// Makes a tensor in memory that belongs to a stream, which is the one that works with it. For memory of another stream
/// there is `DeviceTensor::use_on`.
fn floats(device: &CudaDevice, stream: &Arc<CudaStream>, value: f32) -> anyhow::Result<DeviceTensor> {
    let slice = stream.clone_htod(&[value; ELEMENTS])?;
    Ok(device.tensor(slice, Layout::contiguous(&[ELEMENTS])?)?)
}
