//! The machine itself: an allow-list of instructions, with a budget for everything that it keeps.

use callbox_core::FormatError;

use super::opcode;
use super::value::{Container, Items, Pickle, Value};
use crate::cursor::Cursor;
use crate::torch_names::{self, Name};

/// Python's pickler sets at most 1,000 entries at once; a tuple's items are on the stack together.
const DEEPEST_STACK: usize = 1 << 16;
/// Values kept in the memo, tuples, lists and dicts. A tensor takes about 40 of them.
const MOST_VALUES: usize = 1 << 20;
/// An empty list or dict takes as much memory as so many values.
const CONTAINER: usize = 4;
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// Runs a pickle and returns the value it describes. Only this machine's own values can come of it.
pub(crate) fn read(bytes: &[u8]) -> Result<Pickle<'_>, FormatError> {
    let mut machine = Machine {
        code: Cursor::new(bytes),
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        items: Items::default(),
        values_left: MOST_VALUES,
    };
    machine.check_protocol()?;
    while machine.step()? {}
    let top = machine.stop()?;
    Ok(Pickle { top, items: machine.items })
}

struct Machine<'a> {
    code: Cursor<'a>,
    /// Where the present instruction begins.
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which a group of items begins.
    marks: Vec<usize>,
    memo: Vec<Value<'a>>,
    items: Items<'a>,
    values_left: usize,
}

impl<'a> Machine<'a> {
    fn check_protocol(&mut self) -> Result<(), FormatError> {
        let version = match self.code.array() {
            Some([opcode::PROTO, version]) => version,
            Some([..]) => 0,
            None => return Err(self.cut()),
        };
        if PROTOCOLS.contains(&version) {
            Ok(())
        } else {
            Err(FormatError::Unsupported(format!(
                "pickle protocol {version}; torch.save writes protocols 2 to 5"
            )))
        }
    }

    /// Follows one instruction; false at the last one.
    fn step(&mut self) -> Result<bool, FormatError> {
        self.at = self.code.position();
        let opcode = self.field(Cursor::u8)?;
        match opcode {
            opcode::STOP => return Ok(false),
            opcode::FRAME => self.frame()?,
            opcode::MARK => self.mark()?,
            opcode::NONE => self.push(Value::None)?,
            opcode::NEWTRUE => self.push(Value::Bool(true))?,
            opcode::NEWFALSE => self.push(Value::Bool(false))?,
            opcode::BININT1 => {
                let value = self.field(Cursor::u8)?;
                self.push(Value::Int(i64::from(value)))?;
            }
            opcode::BININT2 => {
                let value = self.field(Cursor::u16)?;
                self.push(Value::Int(i64::from(value)))?;
            }
            opcode::BININT => {
                let value = self.field(Cursor::array)?;
                self.push(Value::Int(i64::from(i32::from_le_bytes(value))))?;
            }
            opcode::LONG1 => self.long()?,
            opcode::BINFLOAT => {
                self.field(Cursor::u64)?;
                self.push(Value::Float)?;
            }
            opcode::SHORT_BINUNICODE => {
                let len = self.field(Cursor::u8)?;
                self.text(u64::from(len))?;
            }
            opcode::BINUNICODE => {
                let len = self.field(Cursor::u32)?;
                self.text(u64::from(len))?;
            }
            opcode::BINUNICODE8 => {
                let len = self.field(Cursor::u64)?;
                self.text(len)?;
            }
            opcode::EMPTY_TUPLE => self.tuple(0)?,
            opcode::TUPLE1 => self.tuple(1)?,
            opcode::TUPLE2 => self.tuple(2)?,
            opcode::TUPLE3 => self.tuple(3)?,
            opcode::TUPLE => {
                let len = self.items_above_mark()?;
                self.tuple(len)?;
            }
            opcode::EMPTY_LIST => {
                self.keep(CONTAINER)?;
                let list = self.items.new_container();
                self.push(Value::List(list))?;
            }
            opcode::EMPTY_DICT => self.empty_dict()?,
            opcode::APPEND => self.append(1)?,
            opcode::APPENDS => {
                let len = self.items_above_mark()?;
                self.append(len)?;
            }
            opcode::SETITEM => self.set_items(2)?,
            opcode::SETITEMS => {
                let len = self.items_above_mark()?;
                self.set_items(len)?;
            }
            opcode::BINPUT => {
                let place = self.field(Cursor::u8)?;
                self.put(u32::from(place))?;
            }
            opcode::LONG_BINPUT => {
                let place = self.field(Cursor::u32)?;
                self.put(place)?;
            }
            opcode::MEMOIZE => self.memoize()?,
            opcode::BINGET => {
                let place = self.field(Cursor::u8)?;
                self.get(u32::from(place))?;
            }
            opcode::LONG_BINGET => {
                let place = self.field(Cursor::u32)?;
                self.get(place)?;
            }
            opcode::GLOBAL => {
                let module = self.field(Cursor::line)?;
                let name = self.field(Cursor::line)?;
                self.push(Value::Name(torch_names::find(module, name)?))?;
            }
            opcode::STACK_GLOBAL => self.stack_global()?,
            opcode::REDUCE => self.reduce()?,
            opcode::BINPERSID => self.persistent_id()?,
            other => return Err(self.refuse(other)),
        }
        Ok(true)
    }

    fn stop(&mut self) -> Result<Value<'a>, FormatError> {
        if !self.code.is_at_end() {
            return Err(self.wrong("bytes follow the last instruction"));
        }
        let top = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err(self.wrong("more than one value is left at the end"));
        }
        Ok(top)
    }

    /// A frame only says how many bytes may be read ahead.
    fn frame(&mut self) -> Result<(), FormatError> {
        let len = self.field(Cursor::u64)?;
        let rest = self.code.clone();
        self.slice(len)?;
        self.code = rest;
        Ok(())
    }

    fn mark(&mut self) -> Result<(), FormatError> {
        if self.marks.len() == DEEPEST_STACK {
            return Err(self.over("marks"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn long(&mut self) -> Result<(), FormatError> {
        let len = self.field(Cursor::u8)?;
        let digits = self.slice(u64::from(len))?;
        let mut value = [0; 8];
        let Some(low) = value.get_mut(..digits.len()) else {
            return Err(FormatError::Limit(format!("data.pkl, byte {}: an integer of {len} bytes", self.at)));
        };
        low.copy_from_slice(digits);
        // Two's complement of any length: the topmost bit that is there is the sign.
        let unused = 64 - 8 * u32::from(len);
        let value = match len {
            0 => 0,
            _ => i64::from_le_bytes(value) << unused >> unused,
        };
        self.push(Value::Int(value))
    }

    fn text(&mut self, len: u64) -> Result<(), FormatError> {
        let text = self.slice(len)?;
        self.push(Value::Text(text))
    }

    fn tuple(&mut self, len: usize) -> Result<(), FormatError> {
        self.keep(len)?;
        let start = self.height_below(len)?;
        let tuple = self.items.new_tuple(&self.stack[start..]);
        self.stack.truncate(start);
        self.push(Value::Tuple(tuple))
    }

    fn empty_dict(&mut self) -> Result<(), FormatError> {
        self.keep(CONTAINER)?;
        let dict = self.items.new_container();
        self.push(Value::Dict(dict))
    }

    fn append(&mut self, len: usize) -> Result<(), FormatError> {
        match self.target(len)? {
            Value::List(list) => self.move_items(len, list),
            other => Err(self.refuse_target("appends to", other)),
        }
    }

    fn set_items(&mut self, len: usize) -> Result<(), FormatError> {
        if !len.is_multiple_of(2) {
            return Err(self.wrong("a key has no value"));
        }
        match self.target(len)? {
            Value::Dict(dict) => self.move_items(len, dict),
            other => Err(self.refuse_target("sets items of", other)),
        }
    }

    /// Returns the value below the last `len` ones, into which they are to go.
    fn target(&self, len: usize) -> Result<Value<'a>, FormatError> {
        let place = self.height_below(len + 1)?;
        Ok(self.stack[place])
    }

    fn move_items(&mut self, len: usize, container: Container) -> Result<(), FormatError> {
        self.keep(len)?;
        let start = self.height_below(len)?;
        self.items.extend(container, &self.stack[start..]);
        self.stack.truncate(start);
        Ok(())
    }

    /// Python numbers its memo in order; anything else is an attempt to make a reader allocate.
    fn put(&mut self, place: u32) -> Result<(), FormatError> {
        if place as usize == self.memo.len() {
            return self.memoize();
        }
        let value = self.top()?;
        let memo_len = self.memo.len();
        match self.memo.get_mut(place as usize) {
            Some(slot) => *slot = value,
            None => {
                return Err(FormatError::Limit(format!(
                    "data.pkl, byte {}: memo entry {place} where entry {memo_len} is next",
                    self.at
                )));
            }
        }
        Ok(())
    }

    fn memoize(&mut self) -> Result<(), FormatError> {
        self.keep(1)?;
        self.memo.push(self.top()?);
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), FormatError> {
        match self.memo.get(place as usize) {
            Some(&value) => self.push(value),
            None => Err(self.wrong(&format!("memo entry {place} is empty"))),
        }
    }

    fn stack_global(&mut self) -> Result<(), FormatError> {
        match (self.pop()?, self.pop()?) {
            (Value::Text(name), Value::Text(module)) => {
                self.push(Value::Name(torch_names::find(module, name)?))
            }
            _ => Err(self.wrong("a name is no text")),
        }
    }

    /// Applies one of the known functions. None of them does anything here but keep its arguments.
    fn reduce(&mut self) -> Result<(), FormatError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Name(name), Value::Tuple(arguments)) = (function, arguments) else {
            return Err(self.refuse_call(function.kind()));
        };
        match (name, self.items.tuple(arguments)) {
            (Name::Rebuild(function), _) => self.push(Value::Tensor(function, arguments)),
            (Name::OrderedDict, []) => self.empty_dict(),
            (Name::Size, &[sizes @ Value::Tuple(_)]) => self.push(sizes),
            (Name::MemoryLayout, &[layout @ Value::Text(_)]) => self.push(layout),
            (Name::OrderedDict | Name::Size | Name::MemoryLayout, _) => {
                Err(self.wrong("a call has other arguments than torch gives it"))
            }
            (Name::QuantizerScheme | Name::TensorClass | Name::Storage(_) | Name::DType(_), _) => {
                Err(self.refuse_call("a class"))
            }
        }
    }

    fn persistent_id(&mut self) -> Result<(), FormatError> {
        match self.pop()? {
            Value::Tuple(id) => self.push(Value::Persistent(id)),
            _ => Err(self.wrong("a persistent id is no tuple")),
        }
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), FormatError> {
        if self.stack.len() == DEEPEST_STACK {
            return Err(self.over("values on the stack"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn top(&self) -> Result<Value<'a>, FormatError> {
        self.target(0)
    }

    fn pop(&mut self) -> Result<Value<'a>, FormatError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// Returns the height of the stack without its last `len` values, which must lie above the last mark.
    fn height_below(&self, len: usize) -> Result<usize, FormatError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(len) {
            Some(height) if height >= floor => Ok(height),
            Some(_) | None => Err(self.wrong("an instruction needs a value that is not there")),
        }
    }

    /// Takes the last mark away and returns the number of values above it.
    fn items_above_mark(&mut self) -> Result<usize, FormatError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.len() - mark),
            None => Err(self.wrong("an instruction needs a mark that is not there")),
        }
    }

    /// Accounts for values that stay.
    fn keep(&mut self, values: usize) -> Result<(), FormatError> {
        self.values_left = self.values_left.checked_sub(values).ok_or_else(|| self.over("values"))?;
        Ok(())
    }

    fn field<T>(&mut self, read: impl FnOnce(&mut Cursor<'a>) -> Option<T>) -> Result<T, FormatError> {
        read(&mut self.code).ok_or_else(|| self.cut())
    }

    fn slice(&mut self, len: u64) -> Result<&'a [u8], FormatError> {
        let len = usize::try_from(len).map_err(|_| self.cut())?;
        self.field(|code| code.take(len))
    }

    fn cut(&self) -> FormatError {
        FormatError::Truncated(format!("data.pkl ends inside the instruction at byte {}", self.at))
    }

    fn wrong(&self, what: &str) -> FormatError {
        FormatError::Inconsistent(format!("data.pkl, byte {}: {what}", self.at))
    }

    fn over(&self, what: &str) -> FormatError {
        FormatError::Limit(format!("data.pkl, byte {}: too many {what}", self.at))
    }

    fn refuse_target(&self, act: &str, target: Value<'_>) -> FormatError {
        let kind = target.kind();
        FormatError::Refused(format!("data.pkl, byte {}: the file {act} {kind}", self.at))
    }

    fn refuse_call(&self, what: &str) -> FormatError {
        FormatError::Refused(format!(
            "data.pkl, byte {}: the file calls {what}; nothing of it was run",
            self.at
        ))
    }

    fn refuse(&self, opcode: u8) -> FormatError {
        let at = self.at;
        match opcode::refused(opcode) {
            Some(name) => FormatError::Refused(format!(
                "data.pkl, byte {at}: the instruction {name}, which no file of plain tensors needs"
            )),
            None => {
                FormatError::Inconsistent(format!("data.pkl, byte {at}: {opcode:#04x} is no instruction"))
            }
        }
    }
}
