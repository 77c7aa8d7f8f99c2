//! Hashes of whole files, computed on the bytes while they are written or read, and of lines.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::str::FromStr;

use callbox_core::{FileHash, planted};
use thiserror::Error;
use twox_hash::{XxHash3_64, xxhash3_128};

/// Which hash of each file of tensors is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hashing {
    /// XXH3 of 128 bits, as `xxh128sum` prints it: finds damage, at the speed of memory.
    #[default]
    Xxh3,
    /// BLAKE3 of 256 bits, as `b3sum` prints it: finds forgeries too, where the record comes by another way. Several
    /// times slower.
    Blake3,
    /// None; nor of the lines.
    Off,
}

/// Bytes are hashed in pieces that stay in the cache between the two looks at them.
pub(crate) const PIECE: usize = 256 << 10;

/// A hash of files: one row.
struct Row {
    hashing: Hashing,
    name: &'static str,
    /// Hexadecimal digits.
    digits: usize,
    start: fn() -> Box<dyn Digest>,
}

const ROWS: [Row; 2] = [
    Row { hashing: Hashing::Xxh3, name: "xxh3", digits: 32, start: || Box::new(xxhash3_128::Hasher::new()) },
    Row { hashing: Hashing::Blake3, name: "blake3", digits: 64, start: || Box::new(blake3::Hasher::new()) },
];

/// A text that names no hash.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no hash: give xxh3, blake3 or off")]
pub struct ParseHashingError(String);

/// Writes the name as `FLASHINFER_DUMP_HASH` spells it.
impl fmt::Display for Hashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().map_or("off", |row| row.name))
    }
}

impl FromStr for Hashing {
    type Err = ParseHashingError;

    /// Reads `xxh3`, `blake3` or `off`.
    fn from_str(text: &str) -> Result<Hashing, ParseHashingError> {
        let row = ROWS.iter().find(|row| row.name == text).map(|row| row.hashing);
        let off = (text == "off").then_some(Hashing::Off);
        row.or(off).ok_or_else(|| ParseHashingError(text.to_owned()))
    }
}

impl Hashing {
    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.hashing == self)
    }

    /// Returns a hash of as many digits as one of this kind has, that of no file.
    pub(crate) fn planned(self) -> Option<FileHash> {
        self.row().map(|row| FileHash { kind: Cow::Borrowed(row.name), digits: "0".repeat(row.digits) })
    }

    /// Begins a hash; `None` where there is none to compute.
    pub(crate) fn start(self) -> Option<Hasher> {
        self.row().map(Hasher::start)
    }
}

/// A hash that is being computed.
pub(crate) struct Hasher {
    name: &'static str,
    digest: Box<dyn Digest>,
}

impl Hasher {
    fn start(row: &Row) -> Hasher {
        Hasher { name: row.name, digest: (row.start)() }
    }

    /// Begins a hash of the kind of one that was recorded; `None` if this version does not know it.
    pub(crate) fn like(hash: &FileHash) -> Option<Hasher> {
        ROWS.iter().find(|row| row.name == hash.kind).map(Hasher::start)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    pub(crate) fn finish(self) -> FileHash {
        FileHash { kind: Cow::Borrowed(self.name), digits: self.digest.finish() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("name", &self.name).finish_non_exhaustive()
    }
}

trait Digest {
    fn update(&mut self, bytes: &[u8]);
    /// Gives the digits.
    fn finish(self: Box<Self>) -> String;
}

impl Digest for xxhash3_128::Hasher {
    fn update(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }

    fn finish(self: Box<Self>) -> String {
        format!("{:032x}", self.finish_128())
    }
}

impl Digest for blake3::Hasher {
    fn update(&mut self, bytes: &[u8]) {
        blake3::Hasher::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> String {
        self.finalize().to_hex().to_string()
    }
}

/// Hashes what is read through it, piece by piece, while the bytes are in the cache.
#[derive(Debug)]
pub(crate) struct HashingReader<R> {
    pub(crate) input: R,
    pub(crate) hasher: Option<Hasher>,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let room = out.len().min(PIECE);
        let len = self.input.read(&mut out[..room])?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..len]);
        }
        Ok(len)
    }
}

/// What stands between the last of a line's own values and the digits of its hash.
const LINE_KEY: &str = ", \"line_xxh3\": \"";
const LINE_DIGITS: usize = 16;
const LINE_END: &str = "\"}";

/// Puts the hash of what is there behind a line's last value: it takes the place of the brace that closes the line.
pub(crate) fn seal(line: &mut String) {
    debug_assert!(line.ends_with('}'), "a record is an object");
    line.pop();
    let hash = line_hash(line.as_bytes());
    write!(line, "{LINE_KEY}{hash:016x}{LINE_END}").expect("a text takes what is written to it");
}

/// What a line says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    /// It has no hash: FlashInfer wrote it, or hashing was off.
    Without,
    /// Its content is what was hashed.
    Whole,
    /// It is not.
    Broken {
        /// The hash in the line.
        recorded: u64,
        /// That of its content.
        found: u64,
    },
}

/// Compares a line, without its newline, with the hash at its end.
pub(crate) fn seal_of(line: &[u8]) -> Seal {
    let Some((content, recorded)) = split_seal(line) else { return Seal::Without };
    let found = line_hash(content);
    if found == recorded || planted::bug("line_hash_not_compared") {
        Seal::Whole
    } else {
        Seal::Broken { recorded, found }
    }
}

/// Takes the hash off a line that has one, so that it ends in a brace again.
pub(crate) fn unsealed(line: &[u8]) -> Option<String> {
    let (content, _) = split_seal(line)?;
    Some(format!("{}}}", str::from_utf8(content).ok()?))
}

/// Splits a line into what was hashed and the hash.
fn split_seal(line: &[u8]) -> Option<(&[u8], u64)> {
    let rest = line.strip_suffix(LINE_END.as_bytes())?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(LINE_DIGITS)?)?;
    let content = rest.strip_suffix(LINE_KEY.as_bytes())?;
    let is_hash = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let digits = str::from_utf8(digits).ok().filter(|_| is_hash)?;
    Some((content, u64::from_str_radix(digits, 16).ok()?))
}

fn line_hash(content: &[u8]) -> u64 {
    XxHash3_64::oneshot(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_that_the_usual_programs_print() {
        for (hashing, text) in [
            // `printf abc | xxh128sum`, `printf abc | b3sum`
            (Hashing::Xxh3, "xxh3:06b05ab6733a618578af5f94892f3950"),
            (Hashing::Blake3, "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
        ] {
            let mut hasher = hashing.start().unwrap();
            hasher.update(b"a");
            hasher.update(b"bc");
            let hash = hasher.finish();
            assert_eq!(hash.to_string(), text);
            let planned = hashing.planned().unwrap();
            assert_eq!((planned.kind, planned.digits.len()), (hash.kind, hash.digits.len()));
        }
        assert!(Hashing::Off.start().is_none() && Hashing::Off.planned().is_none());
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        for hashing in [Hashing::Xxh3, Hashing::Blake3, Hashing::Off] {
            assert_eq!(hashing.to_string().parse(), Ok(hashing));
        }
        assert!("md5".parse::<Hashing>().is_err());
    }

    #[test]
    fn a_flipped_bit_of_a_line_breaks_its_seal_or_leaves_its_content() {
        let mut line = r#"{"function_name": "f", "scale": 0.5}"#.to_owned();
        seal(&mut line);
        assert_eq!(seal_of(line.as_bytes()), Seal::Whole);
        assert_eq!(unsealed(line.as_bytes()).unwrap(), r#"{"function_name": "f", "scale": 0.5}"#);
        let content = line.len() - LINE_KEY.len() - LINE_DIGITS - LINE_END.len();
        for bit in 0..line.len() * 8 {
            let mut damaged = line.clone().into_bytes();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match seal_of(&damaged) {
                Seal::Whole => panic!("bit {bit} is not noticed"),
                Seal::Broken { .. } => {}
                Seal::Without => assert!(bit / 8 >= content, "bit {bit} is not noticed"),
            }
        }
    }
}
