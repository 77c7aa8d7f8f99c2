//! Calls that were captured into CUDA graphs: what their tensors hold is written when the application says that their
//! graph ran.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::begin::{tell_leftover, tell_remarks, tell_resumed};
use super::inside::Inside;
use super::{Inner, Recorder, guarded};
use crate::dump::{CapturedDump, Waited};
use crate::error::{SinkError, chain};
use crate::gate::{Closed, Gate};
use crate::health::FaultKind;
use crate::level::Level;
use crate::not_dumped::NotDumpedCause;

/// Captured calls, in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Graphs(Mutex<Vec<Arc<Mutex<CapturedCall>>>>);

#[derive(Debug)]
struct CapturedCall {
    /// `None` when it was cleared: a flush that is under way may come to it still.
    dump: Option<CapturedDump>,
    was_flushed: bool,
}

/// What became of an attempt to flush a call.
enum Flush {
    /// So many groups are on disk.
    Done(usize),
    /// A stream records a graph with its tensors.
    Capturing,
    Failed,
    /// Others would fare no better, for this reason.
    Ended(&'static str),
}

impl Graphs {
    pub(super) fn keep(&self, dump: CapturedDump) {
        locked(&self.0).push(Arc::new(Mutex::new(CapturedCall { dump: Some(dump), was_flushed: false })));
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
    /// Which calls are captured is told by their arguments: one has memory whose stream records a graph. A launch on a
    /// stream that none of the tensors belongs to is for the application to wait for. What a process captured before it
    /// forked is its own: the child, which has none of its memory on a device, has captured nothing yet.
    ///
    /// Returns how many groups were written: a call's inputs are one, its outputs and the arguments that it wrote into
    /// another. A call that cannot be flushed is counted and told, and tried again by the next flush.
    pub fn flush_graph_dumps(&self) -> usize {
        let Some(_inside) = self.enter_graphs() else { return 0 };
        guarded(|| Ok(self.0.flush_graph_dumps())).unwrap_or_else(|panic| {
            self.0.books.fault(FaultKind::Flush, &panic);
            0
        })
    }

    /// Forgets the captured calls and lets go of their tensors; what was flushed stays. For a graph that is given up.
    ///
    /// Returns how many groups are not flushed any more.
    pub fn clear_graph_dumps(&self) -> usize {
        let Some(_inside) = self.enter_graphs() else { return 0 };
        let cleared = guarded(|| {
            let calls = std::mem::take(&mut *locked(&self.0.ledger().graphs.0));
            let taken = calls.iter().filter_map(|call| locked(call).dump.take());
            Ok(taken.map(|dump| dump.groups()).sum())
        });
        cleared.unwrap_or_default()
    }

    /// `None` where no call can have been captured, or a call of this thread is being recorded.
    fn enter_graphs(&self) -> Option<Inside> {
        if self.level() < Level::Dumps { None } else { Inside::enter() }
    }
}

impl Inner {
    fn flush_graph_dumps(&self) -> usize {
        let ledger = self.ledger();
        // Not under the list's lock: calls that end meanwhile do not wait for this.
        let calls = locked(&ledger.graphs.0).clone();
        let mut waited = Waited::new();
        // All of them first: what is read together is of after the launch.
        let can_be_read: Vec<_> = calls
            .iter()
            .map(|call| {
                locked(call).dump.as_ref().map_or(Ok(()), |dump| match dump.is_capturing() {
                    true => Ok(()),
                    false => dump.wait(&mut waited),
                })
            })
            .collect();
        let (mut flushed, mut capturing) = (0, 0);
        for (place, (call, can_be_read)) in calls.iter().zip(can_be_read).enumerate() {
            let CapturedCall { dump, was_flushed } = &mut *locked(call);
            let Some(dump) = dump else { continue };
            if let Err(text) = can_be_read {
                self.fault(FaultKind::Flush, &dump.record().function, &text);
                continue;
            }
            match self.flush(dump, &ledger.gate) {
                Flush::Done(groups) => {
                    flushed += groups;
                    if !std::mem::replace(was_flushed, true) {
                        self.books.flush();
                    }
                }
                Flush::Capturing => capturing += 1,
                Flush::Failed => {}
                Flush::Ended(why) => {
                    self.tell_unflushed(calls.len() - place, why);
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

    fn flush(&self, dump: &mut CapturedDump, gate: &Gate) -> Flush {
        if dump.is_capturing() {
            return Flush::Capturing;
        }
        let pass = match gate.enter(self.adapters.clock.now()) {
            Ok(pass) => pass,
            Err(Closed::Resting) => return Flush::Ended("recording rests after a failure"),
            Err(Closed::Stopped) => return Flush::Ended("recording was stopped by a failure"),
        };
        let outcome = dump.flush();
        tell_remarks(self, dump.take_remarks());
        let Err(error) = outcome else {
            tell_resumed(self, pass);
            return Flush::Done(dump.groups());
        };
        let function = dump.record().function.clone();
        tell_leftover(self, &function, &error);
        let text = match error.cause {
            NotDumpedCause::OverSize => {
                format!("a flush needs more than what is left of {} bytes", self.settings.limits.max_bytes)
            }
            NotDumpedCause::LowSpace(free) => {
                // Of a smaller call there may be room for one.
                let floor = self.settings.limits.min_free_bytes;
                format!("{free} bytes are free where dumps go, {floor} are to stay free after a flush")
            }
            NotDumpedCause::Sink(error) if error.is_of_the_sink() && !is_of_the_place(&error) => {
                let then = pass.failed(self.adapters.clock.now());
                self.sink_fault(FaultKind::Flush, &function, &error, then);
                return Flush::Ended("flushing failed");
            }
            NotDumpedCause::Sink(error) => chain(&*error),
        };
        self.fault(FaultKind::Flush, &function, &text);
        Flush::Failed
    }
}

/// Tells whether somebody removed the call's place, or put something there.
fn is_of_the_place(error: &SinkError) -> bool {
    let SinkError::Io { source, .. } = error else { return false };
    matches!(source.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic leaves behind is a call that can be flushed again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
