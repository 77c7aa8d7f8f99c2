//! `callbox show`.

mod object;
mod page;
mod table;

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use callbox_core::error::chain;
use callbox_core::{DumpSource, DumpedCall, Finding, Group, LoadedRecord, SourceError, TensorMap};
use callbox_isolate::{Isolation, replay_chain_isolated};
use callbox_replay::{CallReport, ReplayOptions, chains, replay_chain};

use crate::args::ShowArgs;
use crate::command::Executors;
use crate::exit::{Exit, Failure};
use crate::replay::{limits, worker};
use crate::session::{self, Opened};
use crate::{describe, style};

/// Shows one call.
pub(crate) fn run(arguments: &ShowArgs, executors: &Executors<'_>, program: &str) -> Result<Exit, Failure> {
    let opened = session::open(&arguments.dir, &arguments.read)?;
    let call = find(&opened, arguments, program)?;
    let shown = Shown::load(&opened, call, arguments, executors)?;
    let mut out = BufWriter::new(anstream::stdout().lock());
    if arguments.json {
        object::print(&mut out, &opened.source, &shown, arguments)?;
    } else {
        page::print(&mut out, &shown, arguments, program)?;
    }
    out.flush()?;
    Ok(Exit::Good)
}

/// Finds the call that the arguments mean.
fn find<'a>(opened: &'a Opened, arguments: &ShowArgs, program: &str) -> Result<&'a DumpedCall, Failure> {
    let calls = if opened.folder.is_some() { 1 } else { opened.session.calls.len() };
    let dir = style::shell(&arguments.dir.to_string_lossy());
    let number = match arguments.number {
        Some(number) => number.get(),
        None if calls == 1 => 1,
        None => {
            let message = format!("{dir} holds {calls} calls: add a number; {program} list {dir}");
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    opened.call(number).ok_or_else(|| {
        let message = format!("there is no call {number}: {dir} holds {calls}; {program} list {dir}");
        Failure::new(Exit::Usage, message)
    })
}

/// Everything that is shown of a call.
#[derive(Debug)]
struct Shown<'a> {
    call: &'a DumpedCall,
    /// The call's own record, or why there is none.
    record: Result<LoadedRecord, SourceError>,
    /// Tensors of the arguments, of the results, and of the written arguments.
    inputs: Loaded,
    outputs: Loaded,
    args_after: Loaded,
    /// What the replay gave, if it was run.
    replayed: Option<CallReport>,
}

impl Shown<'_> {
    /// Returns the remarks about the call's files: those of its record first.
    fn findings(&self) -> Vec<Finding> {
        let of_record = self.record.as_ref().map_or(&[][..], |loaded| &loaded.findings);
        let groups = [
            (Group::Inputs, &self.inputs),
            (Group::Outputs, &self.outputs),
            (Group::ArgsAfter, &self.args_after),
        ];
        let of_tensors = groups
            .into_iter()
            .filter_map(|(group, loaded)| Finding::unchecked(self.call, group, loaded.as_ref().ok()?));
        of_record.iter().cloned().chain(of_tensors).collect()
    }
}

/// The tensors of a group, or why they could not be loaded.
type Loaded = Result<TensorMap, String>;

impl<'a> Shown<'a> {
    fn load(
        opened: &Opened,
        call: &'a DumpedCall,
        arguments: &ShowArgs,
        executors: &Executors<'_>,
    ) -> Result<Shown<'a>, Failure> {
        let record = opened.source.record(call);
        let is_unflushed = record.as_ref().is_ok_and(|loaded| {
            let record = &loaded.record;
            record.graph_capture && record.graph_flush.is_none()
        });
        let load = |group| -> Loaded {
            match opened.source.load(call, group).map_err(|error| chain(&error))? {
                Some(tensors) => Ok(tensors),
                None if is_unflushed => Err("captured into a CUDA graph and never written".to_owned()),
                None => Ok(TensorMap::default()),
            }
        };
        Ok(Shown {
            call,
            record,
            inputs: load(Group::Inputs),
            outputs: load(Group::Outputs),
            args_after: load(Group::ArgsAfter),
            replayed: if arguments.no_replay {
                None
            } else {
                Some(replay(opened, call, arguments, executors)?)
            },
        })
    }
}

/// Replays the call, and first what its object needs: in a process of its own, since it may be what ended the last one.
fn replay(
    opened: &Opened,
    call: &DumpedCall,
    arguments: &ShowArgs,
    executors: &Executors<'_>,
) -> Result<CallReport, Failure> {
    let Opened { source, session, dir, .. } = opened;
    let executors = session::executors(arguments.device, executors)?;
    let comparison = session::comparison(&arguments.compare);
    let options = ReplayOptions { comparison, ..ReplayOptions::default() };
    let chains = chains(&session.calls, &|other| other.folder == call.folder);
    let chain = chains.first().expect("the call is one of the session");
    let mut report = None;
    if arguments.no_isolate {
        replay_chain(source, session, chain, &mut *executors(), &options, &mut |_, replayed| {
            report = Some(CallReport::new(replayed, &describe::result));
            true
        });
    } else {
        let command = worker(dir, arguments.device, &arguments.read)?;
        let limits = limits(&arguments.limits);
        let (isolation, none) = (Isolation { command: &command, limits }, BTreeMap::new());
        replay_chain_isolated(source, session, chain, &isolation, &options, &none, &mut |_, replayed| {
            report = Some(replayed);
            true
        });
    }
    Ok(report.expect("the call is selected"))
}
