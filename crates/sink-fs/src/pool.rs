//! Buffers that files are read into and that come back when nobody looks at them any more.
//!
//! Fresh memory is slow to write to, since the kernel clears each page first; a buffer that was used before
//! is two to three times as fast. Tensors are views into such a buffer, so it returns with the last of them.

use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use callbox_core::Bytes;

/// At most this many idle buffers are kept.
const MAX_BUFFERS: usize = 8;

/// At most this many bytes of idle buffers are kept.
const MAX_BYTES: usize = 512 << 20;

/// Idle buffers, shared by everything that was read through this pool.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer in use.
struct Lent {
    bytes: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    /// Reads the rest of a file of about `len` bytes, through whatever else sees them.
    pub(crate) fn read(&self, mut file: impl Read, len: u64) -> io::Result<Bytes> {
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut lent = Lent { bytes: self.take(len), pool: self.clone() };
        lent.bytes.try_reserve_exact(len)?;
        file.read_to_end(&mut lent.bytes)?;
        Ok(Bytes::from_owner(lent))
    }

    /// Takes the smallest idle buffer that is large enough, or else a new one without memory. One that is far
    /// too large stays: a small tensor that lives long would keep it from everyone else.
    fn take(&self, len: usize) -> Vec<u8> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |capacity| capacity >= len && capacity / 4 <= len.max(1 << 14);
        let fitting = (0..idle.len()).filter(|&place| fits(idle[place].capacity()));
        match fitting.min_by_key(|&place| idle[place].capacity()) {
            Some(place) => idle.swap_remove(place),
            None => Vec::new(),
        }
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = idle.iter().map(Vec::capacity).sum();
        if buffer.capacity() > MAX_BYTES - kept {
            return;
        }
        buffer.clear();
        idle.push(buffer);
        if idle.len() > MAX_BUFFERS {
            let smallest = (0..idle.len()).min_by_key(|&place| idle[place].capacity());
            smallest.map(|place| idle.swap_remove(place));
        }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.give_back(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Seek, Write};

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        file
    }

    fn idle(pool: &BufferPool) -> Vec<usize> {
        pool.idle.lock().unwrap().iter().map(Vec::capacity).collect()
    }

    #[test]
    fn a_buffer_returns_with_the_last_view_into_it() {
        let pool = BufferPool::default();
        let whole = pool.read(file(&[7; 10_000]), 10_000).unwrap();
        let address = whole.as_ptr();
        let view = whole.slice(5..9);
        drop(whole);
        assert_eq!(idle(&pool).len(), 0);
        assert_eq!(&view[..], [7; 4]);
        drop(view);
        assert_eq!(idle(&pool).len(), 1);
        let again = pool.read(file(&[8; 9_000]), 9_000).unwrap();
        assert_eq!((again.as_ptr(), &again[..]), (address, &[8; 9_000][..]));
    }

    #[test]
    fn a_file_that_changed_its_size_meanwhile_is_read_as_it_is() {
        let pool = BufferPool::default();
        for claimed in [0, 3, 100] {
            assert_eq!(&pool.read(file(b"abcdef"), claimed).unwrap()[..], b"abcdef");
        }
    }

    #[test]
    fn a_small_file_does_not_take_a_large_buffer() {
        let pool = BufferPool::default();
        drop(pool.read(file(&vec![0; 1 << 20]), 1 << 20).unwrap());
        let _small = pool.read(file(b"abc"), 3).unwrap();
        assert_eq!(idle(&pool).len(), 1);
    }

    #[test]
    fn a_size_beyond_memory_is_an_error() {
        assert!(BufferPool::default().read(file(b""), u64::MAX / 2).is_err());
    }

    #[test]
    fn the_pool_keeps_few_buffers_and_the_largest_of_them() {
        let pool = BufferPool::default();
        let lent: Vec<Bytes> =
            (1..=12).map(|n| pool.read(file(&vec![0; n * 1000]), n as u64 * 1000).unwrap()).collect();
        drop(lent);
        let idle = idle(&pool);
        assert_eq!(idle.len(), MAX_BUFFERS);
        assert!(idle.iter().all(|&capacity| capacity >= 5000), "{idle:?}");
    }
}
