use callbox::{ObjectId, record};

#[record(replay)]
fn generic<T: callbox::ToValue>(x: &T) {}

#[record(replay)]
fn opaque(x: &impl callbox::ToValue) {}

#[record(replay)]
unsafe fn careful(x: u8) {}

#[record(replay, skip(x))]
fn skipped(x: u8) {}

#[record(replay, writes(x))]
fn by_value(x: Vec<u8>) {}

#[derive(Clone)]
struct Block {
    id: ObjectId,
}

#[record(replay)]
impl Block {
    pub fn without_an_id(&self) {}
}

#[record(replay, id = id)]
impl Block {
    pub fn without_a_constructor(&self) {}
}

#[record(replay, id = id)]
impl Block {
    pub fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Block { id: ObjectId::of::<Self>() })
    }

    pub fn shared(self: std::sync::Arc<Self>) {}
}

struct Matrix<T> {
    id: ObjectId,
    items: T,
}

#[record(replay, id = id)]
impl<T: callbox::ToValue> Matrix<T> {
    pub fn of(items: T) -> Self {
        Matrix { id: ObjectId::of::<Self>(), items }
    }
}

#[record(replay, id = id)]
impl Clone for Matrix<u8> {
    fn clone(&self) -> Self {
        Matrix { id: self.id.clone(), items: self.items }
    }
}

fn main() {}
