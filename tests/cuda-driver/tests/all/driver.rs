//! The fake driver itself: it defers, checks, captures, launches and counts as it says. Whatever else is shown here is
//! worth no more than this.

use std::mem::ManuallyDrop;
use std::thread;

use callbox_cuda_driver_tests::{Fake, on_fake};
use callbox_kernels_cuda::cudarc::driver::sys::{CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use callbox_kernels_cuda::cudarc::driver::{CudaContext, DriverError};
use callbox_kernels_cuda::cudarc::nvrtc::Ptx;

use crate::capture::Capturing;
use crate::kernels::{self, Kernels};
use crate::{emulated_library, in_a_process_of_its_own};

/// Any context, opened as an application does. The fake was loaded by `on_fake`.
fn context(_: Fake) -> std::sync::Arc<CudaContext> {
    CudaContext::new(0).unwrap()
}

fn code<T>(answer: Result<T, DriverError>) -> u32 {
    answer.err().map_or(0, |error| error.0 as u32)
}

#[test]
fn nothing_is_done_before_somebody_waits() {
    on_fake(|fake| {
        let stream = context(fake).default_stream();
        let slice = stream.clone_htod(&[1u8, 2, 3]).unwrap();
        let mut host = [0xEEu8; 3];
        stream.memcpy_dtoh(&slice, &mut host).unwrap();
        assert_eq!((host, fake.pending()), ([0xEE; 3], 2));
        stream.synchronize().unwrap();
        assert_eq!((host, fake.pending()), ([1, 2, 3], 0));
    });
}

#[test]
fn an_event_is_waited_for_with_what_went_before_it_and_no_more() {
    on_fake(|fake| {
        let context = context(fake);
        let stream = context.default_stream();
        let mut slice = stream.alloc_zeros::<u8>(3).unwrap();
        let event = stream.record_event(None).unwrap();
        assert_eq!(event.try_is_complete(), Ok(false));
        stream.memset_zeros(&mut slice).unwrap();
        event.synchronize().unwrap();
        assert_eq!((event.try_is_complete(), fake.pending()), (Ok(true), 1));
    });
}

#[test]
fn a_stream_that_waits_for_another_does_that_one_s_work_first() {
    on_fake(|fake| {
        let context = context(fake);
        let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        let slice = first.clone_htod(&[7u8]).unwrap();
        second.join(&first).unwrap();
        let mut host = [0u8];
        second.memcpy_dtoh(&slice, &mut host).unwrap();
        second.synchronize().unwrap();
        assert_eq!(host, [7]);
    });
}

#[test]
fn the_default_stream_and_blocking_ones_wait_for_each_other() {
    on_fake(|fake| {
        let context = context(fake);
        let (default, blocking) = (context.default_stream(), kernels::blocking_stream(&context));
        let slice = blocking.clone_htod(&[7u8]).unwrap();
        let mut host = [0u8];
        default.memcpy_dtoh(&slice, &mut host).unwrap();
        default.synchronize().unwrap();
        assert_eq!(host, [7]);
        drop(slice);
        kernels::destroy(&blocking);
    });
}

#[test]
fn a_copy_beyond_an_allocation_is_refused() {
    on_fake(|fake| {
        let stream = context(fake).default_stream();
        let slice = stream.alloc_zeros::<u8>(300).unwrap();
        let mut host = [0u8; 301];
        assert_eq!(code(kernels::copy_without_checks(&stream, &slice, 0, &mut host[..300])), 0);
        assert_eq!(code(kernels::copy_without_checks(&stream, &slice, 0, &mut host)), 1);
        assert_eq!(code(kernels::copy_without_checks(&stream, &slice, 1, &mut host[..300])), 1);
        assert_eq!(code(kernels::copy_without_checks(&stream, &slice, 300, &mut host[..1])), 1);
        stream.synchronize().unwrap();
    });
}

#[test]
fn what_is_freed_may_not_be_used() {
    on_fake(|fake| {
        let stream = context(fake).default_stream();
        let slice = stream.alloc_zeros::<u8>(300).unwrap();
        let address = kernels::address(&slice);
        drop(slice);
        let mut host = [0u8];
        assert_eq!(code(kernels::copy_from(&stream, address, &mut host)), 1);
        assert_eq!(code(stream.synchronize()), 0, "what was told before the free is done");
    });
}

#[test]
fn what_nobody_frees_is_counted() {
    on_fake(|fake| {
        let stream = context(fake).default_stream();
        let slice = ManuallyDrop::new(stream.alloc_zeros::<u8>(3).unwrap());
        assert_eq!(fake.live_allocations(), 1);
        drop(ManuallyDrop::into_inner(slice));
        assert_eq!(fake.live_allocations(), 0);
    });
}

#[test]
fn memory_has_an_end() {
    on_fake(|fake| {
        fake.set_memory_limit(100);
        let stream = context(fake).default_stream();
        let slice = stream.alloc_zeros::<u8>(60).unwrap();
        assert_eq!(code(stream.alloc_zeros::<u8>(41)), 2);
        drop(slice);
        stream.synchronize().unwrap();
        assert_eq!(code(stream.alloc_zeros::<u8>(100)), 0);
    });
}

#[test]
fn a_failure_for_good_is_every_later_answer() {
    on_fake(|fake| {
        let context = context(fake);
        let stream = context.default_stream();
        let mut slice = stream.alloc_zeros::<f32>(4).unwrap();
        Kernels::load(fake, &stream).stray(&mut slice);
        assert_eq!(code(stream.record_event(None)), 0, "the launch itself went well");
        for _ in 0..2 {
            assert_eq!(code(stream.synchronize()), kernels::ILLEGAL_ADDRESS);
            assert_eq!(code(stream.alloc_zeros::<u8>(1)), kernels::ILLEGAL_ADDRESS);
            assert_eq!(code(context.new_event(None)), kernels::ILLEGAL_ADDRESS);
        }
        assert_eq!(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS as u32, kernels::ILLEGAL_ADDRESS);
    });
}

#[test]
fn a_stream_of_another_context_is_unknown() {
    on_fake(|fake| {
        fake.set_device_count(2);
        let (first, second) = (CudaContext::new(0).unwrap(), CudaContext::new(1).unwrap());
        let stream = first.new_stream().unwrap();
        second.bind_to_thread().unwrap();
        assert_eq!(code(kernels::synchronize_without_binding(&stream)), 400);
        assert_eq!(code(stream.synchronize()), 0);
    });
}

#[test]
fn launches_keep_to_the_limits() {
    on_fake(|fake| {
        let stream = context(fake).default_stream();
        let kernels = Kernels::load(fake, &stream);
        fake.register("forgotten", kernels::nothing, &[]);
        for (threads, shared_bytes, expected) in
            [(1024, 48 << 10, 0), (1025, 0, 1), (0, 0, 1), (1, (48 << 10) + 1, 1)]
        {
            let answer = kernels.launch_bare(&kernels.forgotten, threads, shared_bytes);
            assert_eq!(code(answer), expected, "{threads} threads, {shared_bytes} bytes");
        }
        kernels::allow_shared_bytes(&kernels.forgotten, 100_000).unwrap();
        assert_eq!(code(kernels.launch_bare(&kernels.forgotten, 1, 100_000)), 0);
        assert!(kernels::allow_shared_bytes(&kernels.forgotten, (227 << 10) + 1).is_err());
        stream.synchronize().unwrap();
    });
}

#[test]
fn a_kernel_that_nobody_emulates_is_refused() {
    on_fake(|fake| {
        let kernels = Kernels::load(fake, &context(fake).default_stream());
        assert_eq!(code(kernels.launch_bare(&kernels.forgotten, 1, 0)), 801);
    });
}

#[test]
fn a_module_has_to_be_ptx() {
    on_fake(|fake| {
        let context = context(fake);
        assert_eq!(code(context.load_module(Ptx::from_src("no PTX"))), 218);
        assert_eq!(code(context.load_module(Ptx::from_binary(b"\x7fELF\0".to_vec()))), 200);
    });
}

#[test]
fn a_graph_does_what_was_captured_as_often_as_it_is_launched() {
    on_fake(|fake| {
        let mut capturing = Capturing::new(fake);
        capturing.begin();
        capturing.kernels.add(&mut capturing.tensor.slice_mut().unwrap(), 10.);
        assert_eq!(fake.pending(), 0, "it is captured and not told");
        capturing.end_and_launch_twice();
        assert_eq!(fake.pending(), 2);
        assert_eq!(capturing.tensor.to_host().unwrap().to_f32().unwrap(), [21., 22.]);
    });
}

/// Each of these fails with 900 while a stream is capturing, and leaves no graph.
#[test]
fn what_a_capture_forbids_spoils_it() {
    type Act = fn(&Capturing) -> Result<(), DriverError>;
    let acts: [(&str, Act); 7] = [
        ("wait for the stream", |c| c.stream.synchronize()),
        ("wait for the context", |c| c.device.context().synchronize()),
        ("allocate in the order of the stream", |c| c.stream.alloc_zeros::<u8>(1).map(drop)),
        ("allocate pinned memory", |c| kernels::allocate_pinned(c.device.context())),
        ("load a module", |c| kernels::load_empty(c.device.context())),
        ("copy to the host", |c| c.stream.memcpy_dtoh(&*c.tensor.slice::<f32>().unwrap(), &mut [0f32; 2])),
        ("allocate pinned memory on another thread", |c| {
            thread::scope(|scope| {
                scope.spawn(|| kernels::allocate_pinned(c.device.context())).join().unwrap()
            })
        }),
    ];
    for (name, act) in acts {
        on_fake(|fake| {
            let capturing = Capturing::new(fake);
            capturing.begin();
            assert_eq!(code(act(&capturing)), 900, "{name}");
            let ended = capturing.stream.end_capture(CUgraphInstantiate_flags(0));
            assert_eq!(code(ended), 901, "{name}");
            capturing.stream.synchronize().unwrap();
        });
    }
}

#[test]
fn a_capture_of_one_thread_forbids_others_nothing() {
    on_fake(|fake| {
        let capturing = Capturing::new(fake);
        capturing.stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
        let context = capturing.device.context();
        let allocated =
            thread::scope(|scope| scope.spawn(|| kernels::allocate_pinned(context)).join().unwrap());
        assert_eq!(code(allocated), 0);
        assert!(capturing.stream.end_capture(CUgraphInstantiate_flags(0)).is_ok_and(|graph| graph.is_some()));
    });
}

/// Whom a capture forbids to load a module: its mode, the thread's, and whether the thread is the capture's own.
#[test]
fn the_mode_of_a_thread_says_which_captures_forbid_it_what() {
    use CUstreamCaptureMode::{
        CU_STREAM_CAPTURE_MODE_GLOBAL as GLOBAL, CU_STREAM_CAPTURE_MODE_RELAXED as RELAXED,
        CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as THREAD_LOCAL,
    };
    for (of_capture, of_thread, forbidden_to_own, forbidden_to_others) in [
        (GLOBAL, GLOBAL, true, true),
        (GLOBAL, THREAD_LOCAL, true, false),
        (GLOBAL, RELAXED, false, false),
        (THREAD_LOCAL, GLOBAL, true, false),
        (THREAD_LOCAL, THREAD_LOCAL, true, false),
        (THREAD_LOCAL, RELAXED, false, false),
        (RELAXED, GLOBAL, false, false),
        (RELAXED, RELAXED, false, false),
    ] {
        for (is_own, is_forbidden) in [(true, forbidden_to_own), (false, forbidden_to_others)] {
            on_fake(|fake| {
                let capturing = Capturing::new(fake);
                capturing.stream.begin_capture(of_capture).unwrap();
                let load = || {
                    assert_eq!(
                        kernels::exchange_capture_mode(of_thread),
                        GLOBAL,
                        "of a thread that said nothing"
                    );
                    let loaded = kernels::load_empty(capturing.device.context());
                    assert_eq!(kernels::exchange_capture_mode(GLOBAL), of_thread);
                    loaded
                };
                let loaded =
                    if is_own { load() } else { thread::scope(|scope| scope.spawn(load).join().unwrap()) };
                let ended = capturing.stream.end_capture(CUgraphInstantiate_flags(0));
                let expected = if is_forbidden { (900, 901) } else { (0, 0) };
                let what = format!("{of_capture:?} {of_thread:?} own: {is_own}");
                assert_eq!((code(loaded), code(ended)), expected, "{what}");
            });
        }
    }
}

#[test]
fn a_capture_may_not_depend_on_what_was_told_before_it() {
    on_fake(|fake| {
        let context = context(fake);
        let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        let event = second.record_event(None).unwrap();
        first.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        assert_eq!(code(first.wait(&event)), 905);
        assert_eq!(code(first.end_capture(CUgraphInstantiate_flags(0))), 901);
    });
}

#[test]
fn a_stream_that_waits_for_a_captured_event_is_captured_too() {
    on_fake(|fake| {
        let context = context(fake);
        let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
        first.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_GLOBAL).unwrap();
        second.join(&first).unwrap();
        assert_eq!(code(second.synchronize()), 900);
        assert_eq!(code(first.end_capture(CUgraphInstantiate_flags(0))), 901);
        second.synchronize().unwrap();
    });
}

/// The library of emulated kernels is named by the environment: a process of its own.
#[test]
fn kernels_come_from_a_library_of_emulated_ones() {
    const NAME: &str = "driver::kernels_come_from_a_library_of_emulated_ones";
    let library = emulated_library();
    in_a_process_of_its_own(NAME, ("CALLBOX_EMULATED_KERNELS", library.as_os_str()), || {
        on_fake(|fake| {
            let stream = context(fake).default_stream();
            let mut slice = stream.clone_htod(&[1f32, 2., 3.]).unwrap();
            let emulated = kernels::Emulated::load(&stream);
            emulated.double(&mut slice).unwrap();
            let mut host = [0f32; 3];
            stream.memcpy_dtoh(&slice, &mut host).unwrap();
            stream.synchronize().unwrap();
            assert_eq!(host, [2., 4., 6.]);
            // What the library says went wrong is a failed launch.
            emulated.diverge().unwrap();
            assert_eq!(code(stream.synchronize()), 719);
        });
    });
}
