//! A facade under another name.

mod engine {
    pub use callbox as recording;
}

mod callbox {}

#[engine::recording::record(crate = "crate::engine::recording")]
fn add(x: u8, y: u8) -> u8 {
    x + y
}

fn main() {
    assert_eq!(add(1, 2), 3);
}
