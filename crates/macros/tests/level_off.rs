//! With the level off an annotated function allocates nothing of its own, and nothing looks at its values.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use callbox::{ObjectId, record};
use callbox_core::{LiveValue, Value};
use callbox_values::ToValue;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that the system asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

struct Tensor([f32; 4]);

impl ToValue for Tensor {
    fn to_value(&self) -> LiveValue<'_> {
        ALLOCATIONS.fetch_add(1000, Ordering::Relaxed);
        Value::None
    }
}

#[record(kwargs(eps, out))]
fn norm(x: &Tensor, weight: &Tensor, eps: f32, out: &mut Tensor) -> Result<f32, &'static str> {
    if eps < 0.0 {
        return Err("eps is negative");
    }
    for ((out, x), weight) in out.0.iter_mut().zip(&x.0).zip(&weight.0) {
        *out = x * weight + eps;
    }
    Ok(out.0.iter().sum())
}

struct Block {
    id: ObjectId,
    weight: Tensor,
}

#[record(id = id)]
impl Block {
    #[record]
    fn new(weight: Tensor) -> Block {
        Block { id: ObjectId::of::<Block>(), weight }
    }

    #[record]
    fn forward(&self, x: &Tensor, out: &mut Tensor) -> Result<f32, &'static str> {
        norm(x, &self.weight, self.id.get() as f32, out)
    }
}

#[test]
fn nothing_is_allocated_while_the_level_is_off() {
    let (x, mut out) = (Tensor([1.0; 4]), Tensor([0.0; 4]));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for eps in [0.5, -0.5] {
        let block = black_box(Block::new(Tensor([2.0; 4])));
        black_box(block.forward(&x, &mut out)).unwrap();
        assert_eq!(black_box(norm(&x, &block.weight, eps, &mut out)).is_ok(), eps > 0.0);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}
