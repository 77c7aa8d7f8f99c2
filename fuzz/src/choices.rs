//! Bytes as a row of choices: what mutates bytes then mutates structure.

use arbitrary::Unstructured;

/// Takes decisions from an input; one that has ended decides for the first of everything.
#[derive(Debug)]
pub(crate) struct Choices<'a>(Unstructured<'a>);

impl<'a> Choices<'a> {
    pub(crate) fn of(input: &'a [u8]) -> Choices<'a> {
        Choices(Unstructured::new(input))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Returns a number of any size; small ones and those beside a power of two are as likely as all others.
    pub(crate) fn number(&mut self) -> u64 {
        let byte = self.byte();
        let bits = u32::from(byte >> 2);
        match byte & 3 {
            0 => u64::from(byte >> 2),
            1 => (1u64 << bits).wrapping_sub(1),
            2 => 1u64 << bits,
            _ => self.0.arbitrary().unwrap_or_default(),
        }
    }

    /// Decides with a chance of `one` in 256.
    pub(crate) fn rarely(&mut self, one: u8) -> bool {
        self.byte() > 255 - one
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// Returns up to `most` bytes of the input as they are.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = usize::from(self.byte()).min(most).min(self.0.len());
        self.0.bytes(len).unwrap_or_default()
    }

    /// Returns what is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0.take_rest()
    }
}
