use callbox::record;

#[record]
async fn asynchronous(x: u8) -> u8 {
    x
}

#[record]
const fn constant(x: u8) -> u8 {
    x
}

#[record]
struct Data {
    x: u8,
}

#[record]
trait Forward {
    fn forward(&self);
}

#[record]
mod inner {}

fn main() {
    constant(1);
}
