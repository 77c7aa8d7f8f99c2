//! Calls that do not end with everything on disk.

use callbox_core::{DType, Limits, Value};

use crate::call::{Call, Ending};
use crate::random::Random;
use crate::tensor::Tensor;

/// Room for the lines and the inputs of the calls, and not for what one of them returns.
pub(crate) const LIMITS: Limits = Limits { max_count: 100, max_bytes: 256 << 10, min_free_bytes: 0 };

/// Builds the calls.
pub(crate) fn calls() -> Vec<Call> {
    let mut random = Random::new(3);
    let mut call = |ending| {
        let storage = random.storage(DType::BFloat16, 12);
        let input = Value::Tensor(Tensor::contiguous(DType::BFloat16, &[3, 4], &storage));
        Call { ending, ..Call::echo("ends", vec![input, Value::text("how")]) }
    };
    let returned = |result| Ending::Returned { result, written: Vec::new() };
    let too_much = Random::new(4).storage(DType::UInt8, 1 << 20);
    let too_much = Value::Tensor(Tensor::contiguous(DType::UInt8, &[1 << 20], &too_much));
    vec![
        call(returned(Value::None)),
        call(Ending::Error("no kernel for \"sm_999\"")),
        call(Ending::Panic("index out of range: é\n")),
        call(Ending::ReturnedTooMuch(too_much)),
        call(Ending::Killed),
        call(returned(Value::int(7))),
    ]
}
