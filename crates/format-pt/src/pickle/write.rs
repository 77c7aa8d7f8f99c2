//! Writing a pickle, instruction by instruction as Python's own pickler writes protocol 2.

use std::collections::HashMap;

use super::opcode;

/// Python's pickler sets at most this many entries of a dict at once.
const BATCH: usize = 1000;

/// Builds a pickle. Every value that Python would remember is put into the memo, so that the numbers are
/// those that torch's own files have.
pub(crate) struct PickleWriter<'a> {
    out: Vec<u8>,
    memo_len: u32,
    names: HashMap<[&'a str; 2], u32>,
    texts: HashMap<String, u32>,
}

impl<'a> PickleWriter<'a> {
    pub(crate) fn new() -> PickleWriter<'a> {
        PickleWriter {
            out: vec![opcode::PROTO, 2],
            memo_len: 0,
            names: HashMap::new(),
            texts: HashMap::new(),
        }
    }

    /// Ends the pickle; its value is the one that was written.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.push(opcode::STOP);
        self.out
    }

    /// Writes a dict: `entry` writes the key and the value of each of the `entries`.
    pub(crate) fn dict<T, E>(
        &mut self,
        entries: &[T],
        mut entry: impl FnMut(&mut Self, &T) -> Result<(), E>,
    ) -> Result<(), E> {
        self.out.push(opcode::EMPTY_DICT);
        self.put();
        if let [only] = entries {
            entry(self, only)?;
            self.out.push(opcode::SETITEM);
            return Ok(());
        }
        for batch in entries.chunks(BATCH) {
            self.mark();
            batch.iter().try_for_each(|item| entry(self, item))?;
            self.out.push(opcode::SETITEMS);
        }
        Ok(())
    }

    /// Begins a tuple of more than three items, which [`PickleWriter::tuple`] ends.
    pub(crate) fn mark(&mut self) {
        self.out.push(opcode::MARK);
    }

    /// Makes a tuple of everything since the mark.
    pub(crate) fn tuple(&mut self) {
        self.out.push(opcode::TUPLE);
        self.put();
    }

    /// Writes a tuple of integers.
    pub(crate) fn int_tuple(&mut self, values: &[i64]) {
        match values {
            [] => return self.out.push(opcode::EMPTY_TUPLE),
            [_, _, _, _, ..] => self.mark(),
            [_] | [_, _] | [_, _, _] => {}
        }
        values.iter().for_each(|&value| self.int(value));
        self.out.push(match values {
            [_] => opcode::TUPLE1,
            [_, _] => opcode::TUPLE2,
            [_, _, _] => opcode::TUPLE3,
            [..] => opcode::TUPLE,
        });
        self.put();
    }

    /// Calls the function below on the stack with the tuple on top of it.
    pub(crate) fn reduce(&mut self) {
        self.out.push(opcode::REDUCE);
        self.put();
    }

    /// Calls the function or class on the stack without arguments.
    pub(crate) fn reduce_empty(&mut self) {
        self.out.push(opcode::EMPTY_TUPLE);
        self.reduce();
    }

    /// Makes the tuple on the stack a reference to something outside the pickle.
    pub(crate) fn persistent_id(&mut self) {
        self.out.push(opcode::BINPERSID);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.out.push(if value { opcode::NEWTRUE } else { opcode::NEWFALSE });
    }

    pub(crate) fn int(&mut self, value: i64) {
        if let Ok(value) = u8::try_from(value) {
            self.out.extend([opcode::BININT1, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.out.push(opcode::BININT2);
            self.out.extend(value.to_le_bytes());
        } else if let Ok(value) = i32::try_from(value) {
            self.out.push(opcode::BININT);
            self.out.extend(value.to_le_bytes());
        } else {
            // As few bytes as keep the sign.
            let redundant = (value ^ (value << 1)).leading_zeros() / 8;
            let len = 8 - redundant as u8;
            self.out.extend([opcode::LONG1, len]);
            self.out.extend(&value.to_le_bytes()[..usize::from(len)]);
        }
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) {
        let len = u32::try_from(text.len()).expect("keys of tensors are far below 4 GiB");
        self.out.push(opcode::BINUNICODE);
        self.out.extend(len.to_le_bytes());
        self.out.extend(text.as_bytes());
        self.put();
    }

    /// Writes a text that comes again: from the second time on it is a reference.
    pub(crate) fn shared_text(&mut self, text: &str) {
        match self.texts.get(text) {
            Some(&place) => self.get(place),
            None => {
                self.texts.insert(text.to_owned(), self.memo_len);
                self.text(text);
            }
        }
    }

    /// Writes a class or function by module and name.
    pub(crate) fn name(&mut self, name: [&'a str; 2]) {
        match self.names.get(&name) {
            Some(&place) => self.get(place),
            None => {
                self.names.insert(name, self.memo_len);
                self.out.push(opcode::GLOBAL);
                for part in name {
                    self.out.extend(part.as_bytes());
                    self.out.push(b'\n');
                }
                self.put();
            }
        }
    }

    fn put(&mut self) {
        self.refer(opcode::BINPUT, opcode::LONG_BINPUT, self.memo_len);
        self.memo_len += 1;
    }

    fn get(&mut self, place: u32) {
        self.refer(opcode::BINGET, opcode::LONG_BINGET, place);
    }

    fn refer(&mut self, short: u8, long: u8, place: u32) {
        match u8::try_from(place) {
            Ok(place) => self.out.extend([short, place]),
            Err(_) => {
                self.out.push(long);
                self.out.extend(place.to_le_bytes());
            }
        }
    }
}
