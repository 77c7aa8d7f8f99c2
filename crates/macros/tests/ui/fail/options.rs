use callbox::record;

#[record(quiet)]
fn unknown(x: u8) {}

#[record(constructor(new))]
fn of_a_block(x: u8) {}

#[record(kwargs, kwargs(x))]
fn repeated(x: u8) {}

#[record(skip)]
fn skipped(x: u8) {}

#[record(skip())]
fn empty(x: u8) {}

#[record(name)]
fn no_name(x: u8) {}

#[record(module = "")]
fn empty_module(x: u8) {}

#[record(errors(loud))]
fn loud(x: u8) -> Result<u8, u8> {
    Ok(x)
}

#[record(id(field))]
fn wrong_form(x: u8) {}

#[record(kwargs x)]
fn no_comma(x: u8) {}

#[record(skip_result(x))]
fn flag(x: u8) {}

fn main() {}
