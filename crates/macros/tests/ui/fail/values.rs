use callbox::record;

struct Opaque;
struct Silent;

#[record]
fn argument(x: &Opaque) {}

#[record]
fn result() -> Opaque {
    Opaque
}

#[record]
fn error() -> Result<u8, Silent> {
    Ok(1)
}

#[record]
fn wrong_body() -> u8 {
    "text"
}

#[record(writes(x))]
fn used_up(x: Vec<u8>) -> Vec<u8> {
    x
}

fn main() {}
