//! Every dtype in every layout.

use callbox_core::{ArgumentPlace, DType, DTypeKind, Flags, Value};

use crate::call::{Call, Ending};
use crate::random::Random;
use crate::tensor::{Storage, Tensor};

/// Storages have this many elements.
const ELEMENTS: usize = 48;

/// Lists the dtypes that a file can hold; a quantised tensor's scale is not known to the recorder.
pub(crate) fn dtypes() -> impl Iterator<Item = DType> {
    DType::all().filter(|dtype| dtype.kind() != DTypeKind::Quantized)
}

/// Builds the calls: for each dtype one with tensors of every layout, one without dimensions, one that writes in
/// place.
pub(crate) fn calls() -> Vec<Call> {
    let mut random = Random::new(14);
    dtypes()
        .flat_map(|dtype| {
            let storage = random.storage(dtype, ELEMENTS);
            let after = random.storage(dtype, ELEMENTS);
            let finite = random.finite_storage(dtype, ELEMENTS);
            [layouts(dtype, &storage, &finite), scalar(dtype, &storage), in_place(dtype, &storage, &after)]
        })
        .collect()
}

fn layouts(dtype: DType, storage: &Storage, finite: &Storage) -> Call {
    let base = Tensor::contiguous(dtype, &[4, 12], storage);
    let strided = |shape: &[usize], strides: &[usize], offset| Tensor {
        shape: shape.to_vec(),
        strides: strides.to_vec(),
        offset,
        ..base.clone()
    };
    let mut tensors = vec![
        base.clone(),
        // Transposed; sliced; every other column; a row expanded; windows that overlap.
        strided(&[12, 4], &[1, 12], 0),
        strided(&[2, 5], &[12, 1], 15),
        strided(&[4, 6], &[12, 2], 1),
        strided(&[3, 4], &[0, 1], 4),
        strided(&[10, 3], &[2, 1], 0),
        // Empty, and empty behind an offset.
        Tensor::contiguous(dtype, &[3, 0, 2], storage),
        strided(&[0], &[1], 7),
        Tensor::contiguous(dtype, &[0], &Storage::new(Vec::new())),
        // The first once more.
        base.clone(),
    ];
    let marked = |flags| Tensor { flags, ..Tensor::contiguous(dtype, &[4, 12], finite) };
    if matches!(dtype.kind(), DTypeKind::Float | DTypeKind::Complex) {
        tensors.push(marked(Flags { requires_grad: true, ..Flags::default() }));
    }
    if dtype.kind() == DTypeKind::Complex {
        tensors.push(marked(Flags { conj: true, ..Flags::default() }));
    }
    // torch cannot work out what the two marks together mean for complex32.
    if matches!(dtype, DType::Complex64 | DType::Complex128) {
        tensors.push(marked(Flags { conj: true, neg: true, ..Flags::default() }));
    }
    if matches!(dtype, DType::Float64 | DType::Float32 | DType::Float16 | DType::BFloat16) {
        tensors.push(marked(Flags { neg: true, ..Flags::default() }));
    }
    let mut call = Call::echo("layouts", tensors.into_iter().map(Value::Tensor).collect());
    call.keyword = vec![("out", Value::Tensor(strided(&[6, 4], &[8, 2], 1)))];
    call
}

fn scalar(dtype: DType, storage: &Storage) -> Call {
    let scalar = Tensor::contiguous(dtype, &[], storage);
    let later = Tensor { offset: 11, ..scalar.clone() };
    Call::echo("scalar", vec![Value::Tensor(scalar), Value::Tensor(later)])
}

fn in_place(dtype: DType, before: &Storage, after: &Storage) -> Call {
    let column = |storage| Tensor { strides: vec![1, 12], ..Tensor::contiguous(dtype, &[12, 4], storage) };
    let written = vec![
        (ArgumentPlace::Positional(1), Value::Tensor(column(after))),
        (ArgumentPlace::Keyword("out"), Value::Tensor(Tensor::contiguous(dtype, &[48], after))),
    ];
    Call {
        function: "in_place",
        positional: vec![Value::int(3), Value::Tensor(column(before))],
        keyword: vec![("out", Value::Tensor(Tensor::contiguous(dtype, &[48], before)))],
        ending: Ending::Returned { result: Value::None, written },
        texts: vec![("arg_0", "3".to_owned())],
    }
}
