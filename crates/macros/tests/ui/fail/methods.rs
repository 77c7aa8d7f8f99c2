use callbox::{ObjectId, record};

struct Lone;

impl Lone {
    #[record]
    fn method(&self) {}

    #[record]
    fn constructor() -> Self {
        Lone
    }

    #[record(class = "Lone", id = id)]
    fn without_an_object() {}
}

struct Block {
    id: ObjectId,
    number: u64,
}

#[record(constructor(open, run, size))]
impl Block {
    pub fn run(&self) {}

    pub fn size() -> usize {
        0
    }
}

#[record]
impl Block {
    pub async fn asynchronous(&self) {}

    pub const fn constant(&self) {}

    #[record(module = "elsewhere")]
    pub fn of_a_function(&self) {}

    #[record(kwargs)]
    #[record(skip_result)]
    pub fn twice(&self) {}

    #[record(name = "make")]
    pub fn new(id: ObjectId) -> Self {
        Block { id, number: 0 }
    }
}

#[record(id = number)]
impl Block {
    pub fn by_another_number(&self) {}
}

trait Length {
    fn length(&self) -> usize;
}

#[record]
impl Length for [Block] {
    fn length(&self) -> usize {
        self.len()
    }
}

fn main() {}
