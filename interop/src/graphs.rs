//! Calls that were captured into a CUDA graph, and flushed after each of two launches.

use std::path::Path;

use anyhow::{Result, ensure};
use callbox_core::{Callsite, DType, Limits, LiveArguments, Value};
use callbox_testkit::GraphMemory;

use crate::session::{Format, check_health, recorder};

static DOUBLE: Callsite = Callsite::new("callbox_interop", "double", "(x, note)");
static KEEP: Callsite = Callsite::new("callbox_interop", "keep", "(x)");

/// Records a session into `work/name`: `x` is 1 at the first flush and 2 at the second, `double` gives its double, and `keep`
/// nothing.
pub(crate) fn record(work: &Path, name: &str, format: Format) -> Result<()> {
    let recorder = recorder(work, name, format, Limits::default());
    let [x, out] = [0, 0].map(|_| GraphMemory::new(&[0; 16]));
    [&x, &out].iter().for_each(|memory| memory.set_capturing(true));
    let tensor = |memory| Value::Tensor(GraphMemory::view(memory, DType::Float32, &[2, 2]));
    let arguments = |more: &[Value<_>]| LiveArguments {
        positional: [&[tensor(&x)], more].concat(),
        ..LiveArguments::default()
    };
    recorder.begin(&DOUBLE, || arguments(&[Value::text("captured")])).complete(|| tensor(&out).into());
    recorder.begin(&KEEP, || arguments(&[])).complete(|| Value::None.into());
    [&x, &out].iter().for_each(|memory| memory.set_capturing(false));
    for value in [1f32, 2.0] {
        x.write(&value.to_le_bytes().repeat(4));
        out.write(&(2.0 * value).to_le_bytes().repeat(4));
        let flushed = recorder.flush_graph_dumps();
        ensure!(flushed == 3, "{flushed} groups were flushed: {:?}", recorder.health());
    }
    check_health(&recorder.health(), 2)
}
