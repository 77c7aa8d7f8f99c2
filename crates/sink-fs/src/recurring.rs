//! Values that come again from one line to the next.
//!
//! A session repeats itself: the second line of a call has the arguments, the signature and the versions of the
//! first, and the next call of the function has most of them too. A string or container that begins with the
//! same bytes as one that was checked before is that same value, up to its end, so comparing bytes stands for
//! reading it, and costs a tenth.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use callbox_core::TensorMeta;

use crate::json::{self, JsonError, Scanner};
use crate::record::read_tensor_details;

/// Spellings that are remembered for each key of a function: a few kinds of calls, each with two endings.
const SPELLINGS: usize = 8;

/// Longer values are read each time.
const MAX_LEN: usize = 64 << 10;

/// Keys that are remembered for each function; records have about twenty.
const MAX_KEYS: usize = 40;

/// Description of each tensor of a call by its key.
pub(crate) type TensorDetails = Arc<[(String, TensorMeta)]>;

/// How the values of recent lines were spelled, by function and key.
#[derive(Debug, Default)]
pub(crate) struct Recurring {
    places: HashMap<Box<[u8]>, usize>,
    functions: Vec<Keys>,
    current: usize,
}

type Keys = Vec<(Box<[u8]>, VecDeque<Spelling>)>;

#[derive(Debug)]
struct Spelling {
    text: Box<[u8]>,
    /// What it means, if it is a value of `tensor_details`.
    details: Option<TensorDetails>,
}

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

    /// Steps over the value of a key in a line's own object.
    pub(crate) fn skip(&mut self, scanner: &mut Scanner<'_>, key: &[u8]) -> Result<(), JsonError> {
        self.read(scanner, key, |_| Ok(None)).map(|_| ())
    }

    /// Reads `tensor_details`; values that are spelled alike share one list.
    pub(crate) fn tensor_details(&mut self, scanner: &mut Scanner<'_>) -> Result<TensorDetails, JsonError> {
        let offset = scanner.offset();
        let details = self.read(scanner, b"tensor_details", |text| {
            let details = read_tensor_details(&json::parse(text)?);
            let details = details.map_err(|error| JsonError::new(offset, error.to_string()))?;
            Ok(Some(details.into()))
        })?;
        Ok(details.unwrap_or_default())
    }

    fn read(
        &mut self,
        scanner: &mut Scanner<'_>,
        key: &[u8],
        details: impl FnOnce(&[u8]) -> Result<Option<TensorDetails>, JsonError>,
    ) -> Result<Option<TensorDetails>, JsonError> {
        let Some(spellings) = self.spellings(key) else {
            return details(scanner.raw()?);
        };
        if let Some(known) = spellings.iter().find(|spelling| scanner.takes_known(&spelling.text)) {
            return Ok(known.details.clone());
        }
        let text = scanner.raw()?;
        let details = details(text)?;
        if text.len() <= MAX_LEN && matches!(text.first(), Some(b'"' | b'[' | b'{')) {
            spellings.truncate(SPELLINGS - 1);
            spellings.push_front(Spelling { text: text.into(), details: details.clone() });
        }
        Ok(details)
    }

    fn spellings(&mut self, key: &[u8]) -> Option<&mut VecDeque<Spelling>> {
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
