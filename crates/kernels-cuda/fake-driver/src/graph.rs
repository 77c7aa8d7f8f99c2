//! Graphs, and what is made of them to be launched.
#![expect(unsafe_code, reason = "the functions are looked up by their plain names")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::answer::{Code, INVALID_HANDLE, INVALID_VALUE};
use crate::driver::{Handle, call_in_context, call_to_destroy};
use crate::pointer::Out;
use crate::queue::{self, Operation};
use crate::stream;

/// Graphs, and executable ones.
#[derive(Default)]
pub(crate) struct Graphs(BTreeMap<Handle, Arc<[Operation]>>);

impl Graphs {
    pub(crate) fn insert(&mut self, graph: Handle, operations: Arc<[Operation]>) {
        self.0.insert(graph, operations);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphInstantiateWithFlags(executable: Out<Handle>, graph: Handle, _flags: u64) -> Code {
    call_in_context("cuGraphInstantiateWithFlags", |driver, _| {
        let operations = driver.graphs.0.get(&graph).cloned().ok_or(INVALID_VALUE)?;
        let handle = driver.new_handle();
        driver.graphs.insert(handle, operations);
        executable.write(handle)
    })
}

/// Does all that was captured, in the order of a stream, as often as it is told.
#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(executable: Handle, stream: Handle) -> Code {
    call_in_context("cuGraphLaunch", |driver, context| {
        let key = stream::find(driver, context, stream)?;
        let operations = driver.graphs.0.get(&executable).cloned().ok_or(INVALID_HANDLE)?;
        queue::enqueue(driver, key, Operation::Graph(operations))
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(executable: Handle) -> Code {
    destroy("cuGraphExecDestroy", executable)
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: Handle) -> Code {
    destroy("cuGraphDestroy", graph)
}

fn destroy(function: &'static str, graph: Handle) -> Code {
    call_to_destroy(function, |driver, _| driver.graphs.0.remove(&graph).map(|_| ()).ok_or(INVALID_VALUE))
}
