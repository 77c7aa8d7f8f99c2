use std::sync::Arc;
use std::thread;

use callbox_core::{
    DType, Device, DeviceMemory, Flags, Layout, StageError, Statistics, Stats, StorageBytes, StorageId,
    StorageView, TensorBuf, TensorView,
};

/// Threads that read at the same time.
const THREADS: usize = 4;
/// Bytes of a memory: no multiple of anything.
const LEN: usize = 10_007;

/// Checks what every device memory must do; `make` gives one of so many bytes, of which the one at `i` is `i % 251`.
///
/// # Panics
///
/// Where the memory breaks a promise of its port.
pub fn device_memory(make: &dyn Fn(usize) -> Arc<dyn DeviceMemory>) {
    any_range_is_read(&*make(LEN));
    what_lies_outside_is_refused(&*make(LEN));
    memory_without_bytes_is_read(&*make(0));
    retained_memory_outlives_its_owner(make(LEN));
    many_threads_read(&*make(LEN));
    statistics_are_those_of_the_bytes(&*make(LEN));
}

fn bytes(range: std::ops::Range<usize>) -> Vec<u8> {
    range.map(|place| (place % 251) as u8).collect()
}

fn read(memory: &dyn DeviceMemory, offset: usize, len: usize) -> Vec<u8> {
    let mut out = vec![0xEE; len];
    memory.read(offset, &mut out).expect("the range lies in the memory");
    out
}

fn any_range_is_read(memory: &dyn DeviceMemory) {
    assert_eq!(memory.byte_len(), LEN);
    assert_ne!(memory.device(), Device::Cpu, "the host's memory needs no reading");
    assert!(!memory.capturing(), "no graph is recorded");
    for (offset, len) in
        [(0, LEN), (0, 1), (LEN - 1, 1), (1, 4096), (4095, 4099), (7, LEN - 8), (LEN, 0), (3, 0)]
    {
        assert_eq!(read(memory, offset, len), bytes(offset..offset + len), "{len} bytes at {offset}");
    }
}

fn what_lies_outside_is_refused(memory: &dyn DeviceMemory) {
    for (offset, len) in
        [(LEN, 1), (LEN - 1, 2), (LEN + 1, 0), (0, LEN + 1), (usize::MAX, 1), (usize::MAX - 1, 8)]
    {
        let mut out = vec![0xEE; len];
        let answer = memory.read(offset, &mut out);
        assert!(matches!(answer, Err(StageError::OutOfRange { .. })), "{len} bytes at {offset}: {answer:?}");
        assert!(out.iter().all(|byte| *byte == 0xEE), "{len} bytes at {offset} were written all the same");
    }
}

fn memory_without_bytes_is_read(memory: &dyn DeviceMemory) {
    assert_eq!(memory.byte_len(), 0);
    assert_eq!(read(memory, 0, 0), []);
    assert!(memory.read(0, &mut [0]).is_err());
}

/// Memory that cannot be kept says so by giving none.
fn retained_memory_outlives_its_owner(memory: Arc<dyn DeviceMemory>) {
    let Some(retained) = memory.retain() else { return };
    let device = memory.device();
    drop(memory);
    assert_eq!((retained.device(), retained.byte_len()), (device, LEN));
    assert_eq!(read(&*retained, 13, 1000), bytes(13..1013));
}

fn many_threads_read(memory: &dyn DeviceMemory) {
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                for offset in (number..LEN - 500).step_by(997) {
                    assert_eq!(read(memory, offset, 500), bytes(offset..offset + 500));
                }
            });
        }
    });
}

/// Computed on the device or read from it, they are what the host computes of the same bytes.
fn statistics_are_those_of_the_bytes(memory: &dyn DeviceMemory) {
    let layout = Layout::new(&[40, 50], &[100, 2], 3).expect("it is a layout");
    let host =
        TensorBuf::from_elements(DType::UInt8, &[LEN], bytes(0..LEN)).expect("there are so many bytes");
    let host = host.with_layout(layout.clone()).expect("it fits");
    let view = TensorView {
        dtype: DType::UInt8,
        layout,
        storage: StorageView { id: StorageId::new(7), bytes: StorageBytes::Device(memory) },
        flags: Flags::default(),
        device: memory.device(),
    };
    assert_eq!(Statistics::of(&view), Statistics::Taken(Stats::of(&host).expect("bytes have statistics")));
}
