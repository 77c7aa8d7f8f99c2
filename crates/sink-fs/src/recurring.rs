//! Values that come again from one line to the next.
//!
//! A session repeats itself: the second line of a call has the arguments, the signature and the versions of the
//! first, and the next call of the function has most of them too. A string or container that begins with the
//! same bytes as one that was checked before is that same value, up to its end, so comparing bytes stands for
//! reading it, and costs a tenth.

use std::collections::{HashMap, VecDeque};

use crate::json::{JsonError, Scanner};

/// Spellings that are remembered for each key of a function: two endings of a call, twice.
const SPELLINGS: usize = 32;

/// Longer values are read each time.
const MAX_LEN: usize = 64 << 10;

/// Keys that are remembered for each function; records have about twenty.
const MAX_KEYS: usize = 40;

/// How the values of recent lines were spelled, by function and key.
#[derive(Debug, Default)]
pub(crate) struct Recurring {
    places: HashMap<Box<[u8]>, usize>,
    functions: Vec<Keys>,
    current: usize,
}

type Keys = Vec<(Box<[u8]>, VecDeque<Box<[u8]>>)>;

impl Recurring {
    /// Looks among the values of this function from now on.
    pub(crate) fn turn_to(&mut self, function: &[u8]) {
        self.current = match self.places.get(function) {
            Some(&place) => place,
            None => {
                self.functions.push(Keys::new());
                self.places.insert(function.into(), self.functions.len() - 1);
                self.functions.len() - 1
            }
        };
    }

    /// Steps over the value of a key in a line's own object, and returns how it is spelled.
    pub(crate) fn raw<'a>(&mut self, scanner: &mut Scanner<'a>, key: &[u8]) -> Result<&'a [u8], JsonError> {
        let Some(spellings) = self.spellings(key) else { return scanner.raw() };
        if let Some(value) = spellings.iter().find_map(|spelling| scanner.take_known(spelling)) {
            return Ok(value);
        }
        let value = scanner.raw()?;
        if value.len() <= MAX_LEN && matches!(value.first(), Some(b'"' | b'[' | b'{')) {
            spellings.truncate(SPELLINGS - 1);
            spellings.push_front(value.into());
        }
        Ok(value)
    }

    fn spellings(&mut self, key: &[u8]) -> Option<&mut VecDeque<Box<[u8]>>> {
        let keys = self.functions.get_mut(self.current)?;
        let place = match keys.iter().position(|(known, _)| **known == *key) {
            Some(place) => place,
            None if keys.len() == MAX_KEYS => return None,
            None => {
                keys.push((key.into(), VecDeque::new()));
                keys.len() - 1
            }
        };
        Some(&mut keys[place].1)
    }
}
