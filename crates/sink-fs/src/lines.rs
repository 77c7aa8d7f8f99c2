//! Splits a stream into lines through one buffer that is used again and again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Longer lines are stepped over. FlashInfer writes about 14 bytes for each item of a list argument, so this
/// is a list of more than a million. Read as a tree, a line takes many times its size.
pub(crate) const MAX_LINE: usize = callbox_core::Line::LONGEST as usize;

/// Small enough to stay in a core's cache between reading and looking, large enough to make few calls.
const BUFFER: usize = 256 << 10;

/// Reads lines of any length up to a limit.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    input: R,
    skip_hole: fn(&mut R) -> io::Result<u64>,
    buffer: Vec<u8>,
    limit: usize,
    /// Start of what was not handed out yet.
    start: usize,
    /// End of what was read.
    end: usize,
    number: usize,
}

/// One line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Number of the line, from 1.
    pub(crate) number: usize,
    pub(crate) content: Content<'a>,
    /// A newline follows; without one, the file ends here.
    pub(crate) terminated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Bytes(&'a [u8]),
    /// The line is over the limit: this many bytes were stepped over.
    TooLong(u64),
}

impl LineReader<File> {
    /// Reads a file from where it stands. Of a line over the limit, what was never written is not read either: a
    /// gigabyte of nothing costs nothing.
    pub(crate) fn of_file(file: File) -> LineReader<File> {
        LineReader { skip_hole, ..LineReader::new(file) }
    }
}

impl<R: Read> LineReader<R> {
    pub(crate) fn new(input: R) -> LineReader<R> {
        LineReader::with_sizes(input, BUFFER, MAX_LINE)
    }

    fn with_sizes(input: R, buffer: usize, limit: usize) -> LineReader<R> {
        let buffer = vec![0; buffer.min(limit)];
        LineReader { input, skip_hole: |_| Ok(0), buffer, limit, start: 0, end: 0, number: 0 }
    }

    /// Reads the next line; `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.number += 1;
        let number = self.number;
        let mut searched = 0;
        loop {
            let unsearched = &self.buffer[self.start + searched..self.end];
            if let Some(found) = memchr::memchr(b'\n', unsearched) {
                let line = self.start..self.start + searched + found;
                self.start = line.end + 1;
                let content = Content::Bytes(&self.buffer[line]);
                return Ok(Some(Line { number, content, terminated: true }));
            }
            searched = self.end - self.start;
            if searched >= self.limit {
                return self.step_over().map(Some);
            }
            if self.fill()? == 0 {
                let line = self.start..self.end;
                self.start = self.end;
                let content = Content::Bytes(&self.buffer[line]);
                return Ok((searched > 0).then_some(Line { number, content, terminated: false }));
            }
        }
    }

    /// Reads more behind what is there, and makes room for it first.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            let larger = (self.buffer.len() * 2).min(self.limit);
            self.buffer.resize(larger, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(len) => {
                    self.end += len;
                    return Ok(len);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn step_over(&mut self) -> io::Result<Line<'static>> {
        let mut stepped = 0;
        loop {
            let part = &self.buffer[self.start..self.end];
            if let Some(found) = memchr::memchr(b'\n', part) {
                self.start += found + 1;
                let content = Content::TooLong(stepped + found as u64);
                return Ok(Line { number: self.number, content, terminated: true });
            }
            stepped += part.len() as u64;
            (self.start, self.end) = (0, 0);
            stepped += (self.skip_hole)(&mut self.input)?;
            if self.fill()? == 0 {
                let content = Content::TooLong(stepped);
                return Ok(Line { number: self.number, content, terminated: false });
            }
        }
    }
}

/// Steps over zeros that no disk holds, which no newline is among; returns how many.
fn skip_hole(file: &mut File) -> io::Result<u64> {
    let at = file.stream_position()?;
    let next = match next_data(file, at) {
        Some(next) => next,
        None => file.seek(SeekFrom::End(0))?,
    };
    Ok(next.saturating_sub(at))
}

/// Seeks to the next byte that was written, the present one where nobody knows; `None` where there is none.
#[cfg(target_os = "linux")]
fn next_data(file: &File, at: u64) -> Option<u64> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(next) => Some(next),
        Err(rustix::io::Errno::NXIO) => None,
        Err(_) => Some(at),
    }
}

#[cfg(not(target_os = "linux"))]
fn next_data(_: &File, at: u64) -> Option<u64> {
    Some(at)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// Hands out at most `step` bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let len = self.1.min(self.0.len()).min(out.len());
            out[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_a_plain_split(
            text in prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'\n']), 0..80),
            step in 1usize..9,
            buffer in 1usize..12,
            limit in 8usize..24,
        ) {
            let mut reader = LineReader::with_sizes(Slow(&text, step), buffer, limit);
            let mut expected = text.split_inclusive(|&byte| byte == b'\n').enumerate();
            while let Some(line) = reader.next_line().unwrap() {
                let (place, whole) = expected.next().unwrap();
                let terminated = whole.ends_with(b"\n");
                let bytes = whole.strip_suffix(b"\n").unwrap_or(whole);
                let content = match line.content {
                    Content::TooLong(_) => {
                        prop_assert!(bytes.len() >= limit);
                        Content::TooLong(bytes.len() as u64)
                    }
                    Content::Bytes(_) => Content::Bytes(bytes),
                };
                prop_assert_eq!(line, Line { number: place + 1, content, terminated });
            }
            prop_assert!(expected.next().is_none());
            prop_assert!(reader.buffer.len() <= limit.max(buffer));
        }
    }

    #[test]
    fn a_line_over_the_limit_is_stepped_over_in_the_same_buffer() {
        let mut text = vec![b'x'; 100_000];
        text.extend(b"\nshort\n");
        let mut reader = LineReader::with_sizes(&text[..], 16, 64);
        let content = |line: Option<Line<'_>>| format!("{:?}", line.unwrap().content);
        assert_eq!(content(reader.next_line().unwrap()), "TooLong(100000)");
        assert_eq!(content(reader.next_line().unwrap()), format!("{:?}", Content::Bytes(b"short")));
        assert_eq!(reader.next_line().unwrap(), None);
        assert_eq!(reader.buffer.len(), 64);
    }

    #[test]
    fn a_line_that_was_never_written_is_stepped_over_to_the_next_one() {
        let mut file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(b"x\nshort\n").unwrap();
        file.set_len((1 << 41) + 8).unwrap();
        file.rewind().unwrap();
        let mut reader = LineReader::of_file(file);
        let contents = [(1 << 40) + 1, 5, (1 << 41) + 8 - (1 << 40) - 8];
        for len in contents {
            let line = reader.next_line().unwrap().unwrap();
            match line.content {
                Content::TooLong(found) => assert_eq!(found, len),
                Content::Bytes(bytes) => assert_eq!((bytes, bytes.len() as u64), (&b"short"[..], len)),
            }
        }
        assert_eq!(reader.next_line().unwrap(), None);
    }
}
