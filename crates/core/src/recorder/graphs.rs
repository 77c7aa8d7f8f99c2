//! Calls that were captured into CUDA graphs: what their tensors hold is written when the application says that their
//! graph ran.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::begin::{tell_leftover, tell_remarks};
use super::inside::Inside;
use super::{Inner, Recorder, guarded};
use crate::dump::CapturedDump;
use crate::error::chain;
use crate::gate::Gate;
use crate::health::FaultKind;
use crate::not_dumped::NotDumpedCause;

/// Captured calls, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Graphs(Mutex<Vec<Arc<Mutex<CapturedCall>>>>);

#[derive(Debug)]
struct CapturedCall {
    dump: CapturedDump,
    was_flushed: bool,
}

/// What became of an attempt to flush a call.
enum Flush {
    Done,
    /// A stream records a graph with its tensors.
    Capturing,
    Failed,
    /// The sink failed: it would fail for the others as well.
    SinkFailed,
}

impl Graphs {
    pub(super) fn keep(&self, dump: CapturedDump) {
        locked(&self.0).push(Arc::new(Mutex::new(CapturedCall { dump, was_flushed: false })));
    }
}

impl Recorder {
    /// Writes what the tensors of captured calls hold now: to be called after each launch of their graph.
    ///
    /// A call that was recorded while a CUDA graph was captured gave the recorder no values, since nothing had run yet.
    /// Its tensors are held. Each flush writes them to the call's folder, in the place of what the one before wrote, and
    /// to a folder of its own inside, which nobody changes: `graph_flushes/flush_0001`. The streams that own the tensors
    /// are waited for. Where calls of one graph write into one tensor, all of them show what it held at the end.
    ///
    /// Returns how many files' worth of tensors were written, a call's inputs and its outputs counting each. A call that
    /// cannot be flushed is counted and told, and may be by the next flush.
    pub fn flush_graph_dumps(&self) -> usize {
        let Some(_inside) = Inside::enter() else { return 0 };
        guarded(|| Ok(self.0.flush_graph_dumps())).unwrap_or_else(|panic| {
            self.0.books.fault(FaultKind::Flush, &panic);
            0
        })
    }

    /// Forgets the captured calls and lets go of their tensors; what was flushed stays. For a graph that is given up.
    ///
    /// Returns how many files' worth of tensors are not flushed any more.
    pub fn clear_graph_dumps(&self) -> usize {
        let Some(_inside) = Inside::enter() else { return 0 };
        let cleared = guarded(|| {
            let calls = std::mem::take(&mut *locked(&self.0.ledger().graphs.0));
            Ok(calls.iter().map(|call| locked(call).dump.groups()).sum())
        });
        cleared.unwrap_or_default()
    }
}

impl Inner {
    fn flush_graph_dumps(&self) -> usize {
        let ledger = self.ledger();
        // Not under the list's lock: calls that end meanwhile do not wait for this.
        let calls = locked(&ledger.graphs.0).clone();
        let (mut flushed, mut capturing) = (0, 0);
        for (place, call) in calls.iter().enumerate() {
            let call = &mut *locked(call);
            match self.flush(call, &ledger.gate) {
                Flush::Done => {
                    flushed += call.dump.groups();
                    if !std::mem::replace(&mut call.was_flushed, true) {
                        self.books.flush();
                    }
                }
                Flush::Capturing => capturing += 1,
                Flush::Failed => {}
                Flush::SinkFailed => {
                    self.tell_unflushed(calls.len() - place - 1, "flushing failed before them");
                    break;
                }
            }
        }
        self.tell_unflushed(capturing, "a graph is still being captured; flush after it was launched");
        flushed
    }

    fn tell_unflushed(&self, count: usize, why: &str) {
        let calls = if count == 1 { "call was" } else { "calls were" };
        if count > 0 {
            self.warn(&format!("{count} captured {calls} not flushed: {why}"));
        }
    }

    fn flush(&self, call: &mut CapturedCall, gate: &Gate) -> Flush {
        let dump = &mut call.dump;
        if dump.is_capturing() {
            return Flush::Capturing;
        }
        let outcome = dump.flush();
        tell_remarks(self, dump.take_remarks());
        let Err(error) = outcome else { return Flush::Done };
        let function = dump.record().function.clone();
        tell_leftover(self, &function, &error);
        let text = match error.cause {
            NotDumpedCause::OverSize => {
                format!("a flush needs more than what is left of {} bytes", self.settings.limits.max_bytes)
            }
            NotDumpedCause::LowSpace(free) => {
                let floor = self.settings.limits.min_free_bytes;
                format!("{free} bytes are free where dumps go, {floor} are to stay free after a flush")
            }
            NotDumpedCause::Sink(error) if error.is_of_the_sink() => {
                let then = gate.failed(self.adapters.clock.now());
                self.sink_fault(FaultKind::Flush, &function, &error, then);
                return Flush::SinkFailed;
            }
            NotDumpedCause::Sink(error) => chain(&*error),
        };
        self.fault(FaultKind::Flush, &function, &text);
        Flush::Failed
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic leaves behind is a call that can be flushed again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
