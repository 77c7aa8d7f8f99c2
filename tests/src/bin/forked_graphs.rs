//! A program that captured a call into a graph, and forks while a thread of it flushes that call; each child captures a
//! call of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use callbox::core::{Callsite, DType, LiveArguments};
use callbox::{Recorder, Value};
use callbox_testkit::GraphMemory;
use callbox_tests::c_library::{came_to_its_end, in_a_child};

const CHILDREN: usize = 8;
const FLUSHES_OF_A_CHILD: u8 = 3;

static CALLSITE: Callsite = Callsite::new("engine.ops", "double", "(x)");

/// A graph that makes `out` the double of `x`.
struct Graph {
    x: GraphMemory,
    out: GraphMemory,
}

impl Graph {
    fn capture(recorder: &Recorder) -> Graph {
        let [x, out] = [0, 0].map(|byte| GraphMemory::new(&[byte; 16]));
        let tensor = |memory| Value::Tensor(GraphMemory::view(memory, DType::UInt8, &[16]));
        [&x, &out].iter().for_each(|memory| memory.set_capturing(true));
        let arguments = || LiveArguments { positional: vec![tensor(&x)], ..LiveArguments::default() };
        recorder.begin(&CALLSITE, arguments).complete(|| tensor(&out).into());
        [&x, &out].iter().for_each(|memory| memory.set_capturing(false));
        Graph { x, out }
    }

    /// Runs and flushes.
    fn launch(&self, recorder: &Recorder, byte: u8) {
        self.x.write(&[byte; 16]);
        self.out.write(&[2 * byte; 16]);
        assert_eq!(recorder.flush_graph_dumps(), 2, "inputs and outputs of one call");
    }
}

fn main() {
    let recording = callbox::from_env();
    let recorder = recording.recorder().clone();
    let graph = Graph::capture(&recorder);
    let is_over = Arc::new(AtomicBool::new(false));
    let flushing = thread::spawn({
        let (recorder, is_over) = (recorder.clone(), is_over.clone());
        move || {
            while !is_over.load(Ordering::Relaxed) {
                graph.launch(&recorder, 1);
            }
            graph.launch(&recorder, 2);
        }
    });
    for _ in 0..CHILDREN {
        let child = in_a_child(|| {
            assert_eq!(recorder.flush_graph_dumps(), 0, "what the parent captured is the parent's");
            let graph = Graph::capture(&recorder);
            (1..=FLUSHES_OF_A_CHILD).for_each(|byte| graph.launch(&recorder, byte));
        });
        assert!(came_to_its_end(child), "the child flushes to its end");
    }
    is_over.store(true, Ordering::Relaxed);
    flushing.join().expect("the parent flushes to its end");
}
