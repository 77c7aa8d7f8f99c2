//! What a recorder keeps for the present process: after a fork the child begins anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::graphs::Graphs;
use crate::budget::{Budget, SharedUsage};
use crate::gate::{FailurePolicy, Gate};
use crate::limits::Limits;
use crate::name::FunctionName;
use crate::process::Process;

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) process: Arc<Process>,
    pub(super) budget: Arc<Budget>,
    pub(super) gate: Gate,
    /// The calls that were captured into CUDA graphs.
    pub(super) graphs: Graphs,
    /// The last call number of each function name.
    numbers: Mutex<HashMap<String, u64>>,
}

impl Ledger {
    pub(super) fn new(
        process: Arc<Process>,
        limits: Limits,
        shared: Option<SharedUsage>,
        on_failure: FailurePolicy,
    ) -> Ledger {
        let budget = Arc::new(Budget::new(limits, shared));
        let (gate, graphs) = (Gate::new(on_failure), Graphs::default());
        Ledger { process, budget, gate, graphs, numbers: Mutex::default() }
    }

    /// Counts a call among those of its function's name, from 1.
    pub(super) fn number(&self, function: &FunctionName) -> u64 {
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get_mut(function.name()) {
            *number += 1;
            return *number;
        }
        numbers.insert(function.name().to_owned(), 1);
        1
    }
}
