use callbox::record;

#[record(kwargs(epsilon), skip(y), writes(self))]
fn no_such(x: u8, eps: f32) {}

#[record(skip(x))]
fn none() {}

#[record(kwargs(x, x))]
fn twice(x: u8) {}

#[record(skip(x), writes(x))]
fn skipped_and_written(x: &mut u8) {}

#[record(writes(x), reads(x))]
fn written_and_read(x: &mut u8) {}

#[record(reads(x))]
fn never_written(x: &u8) {}

#[record(kwargs(x))]
fn position_behind_a_name(x: u8, y: u8) {}

#[record(kwargs)]
fn pattern_by_name((x, y): (u8, u8)) {}

fn main() {}
