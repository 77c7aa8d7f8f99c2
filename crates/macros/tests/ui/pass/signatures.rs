//! Signatures of all kinds compile.

use std::fmt::Display;
use std::pin::Pin;

use callbox::{ToValue, record};

#[record]
fn lifetimes<'a, 'b: 'a>(x: &'a [u8], y: &'b [u8]) -> (&'a [u8], &'b [u8]) {
    (x, y)
}

#[record]
fn constant<const N: usize>(x: [u8; N]) -> [u8; N]
where
    [u8; N]: ToValue,
{
    x
}

#[record(skip(run, other))]
fn closures(x: Vec<u8>, run: impl Fn(&u8) -> bool, other: &dyn Fn(u8)) -> usize {
    other(1);
    x.iter().filter(|x| run(x)).count()
}

impl ToValue for Printed<'_> {
    fn to_value(&self) -> callbox::macro_support::LiveValue<'_> {
        callbox::macro_support::Value::text(&self.0.to_string())
    }
}

struct Printed<'a>(&'a dyn Display);

#[record]
fn printed(x: Printed<'_>) -> String {
    x.0.to_string()
}

#[record(skip_result)]
fn elided(x: &str) -> impl Iterator<Item = char> + '_ {
    x.chars()
}

#[record]
fn boxed(x: Box<str>) -> Result<Box<str>, Box<dyn std::error::Error>> {
    if x.is_empty() {
        Err("empty")?
    }
    Ok(x)
}

#[record(reads(x), skip_result)]
fn hidden_borrow(x: &mut Vec<u8>) -> std::slice::IterMut<u8> {
    x.iter_mut()
}

#[record(skip(x))]
unsafe fn raw(x: *mut u8) -> u8 {
    unsafe { *x }
}

struct Engine<'a> {
    names: Vec<&'a str>,
}

#[record]
impl<'a> Engine<'a> {
    pub fn new(name: &'a str) -> Engine<'a> {
        Engine { names: vec![name] }
    }

    pub fn first(&self) -> Option<&'a str> {
        self.names.first().copied()
    }

    pub fn add(&mut self, name: &'a str) -> &mut Vec<&'a str> {
        self.names.push(name);
        &mut self.names
    }

    #[record(skip_result)]
    pub fn chained(&mut self, name: &'a str) -> &mut Self {
        self.add(name);
        self
    }

    pub fn pinned(self: Pin<&Self>) -> usize {
        self.names.len()
    }

    #[record(skip)]
    pub const fn constant() -> u8 {
        1
    }
}

#[record(constructor(default))]
impl Default for Engine<'_> {
    fn default() -> Self {
        Engine { names: Vec::new() }
    }
}

fn main() {
    assert_eq!(lifetimes(&[1], &[2]).1, [2]);
    assert_eq!(constant([1, 2]), [1, 2]);
    assert_eq!(printed(Printed(&1)), "1");
    assert_eq!(elided("ab").count(), 2);
    assert!(boxed("".into()).is_err());
    assert_eq!(hidden_borrow(&mut vec![1]).count(), 1);
    assert_eq!(unsafe { raw(&mut 1) }, 1);
    let mut engine = Engine::new("a");
    assert_eq!(engine.chained("b").first(), Some("a"));
    assert_eq!(Pin::new(&engine).pinned() + usize::from(Engine::constant()), 3);
}
