//! Random calls: tensors of any dtype and layout that may share storages, numbers of any bits.

use callbox_core::{DType, Flags, Text, Value};

use crate::call::Call;
use crate::layouts::dtypes;
use crate::random::Random;
use crate::tensor::{Storage, Tensor, row_major};

/// Builds so many calls.
pub(crate) fn calls(count: usize) -> Vec<Call> {
    let mut random = Random::new(12);
    (0..count).map(|_| call(&mut random)).collect()
}

fn call(random: &mut Random) -> Call {
    let mut shared: Vec<(DType, Storage)> = Vec::new();
    let mut values: Vec<_> =
        (0..1 + random.below(5)).map(|_| Value::Tensor(tensor(random, &mut shared))).collect();
    let number = f64::from_bits(random.bits());
    // Python has one NaN, whatever its bits.
    let number = if number.is_nan() { f64::NAN } else { number };
    let place = values.len();
    values.push(Value::Float(number));
    values.push(Value::Text(text(random)));
    values.push(Value::int(random.bits().cast_signed()));
    let nested = vec![values[0].clone(), Value::Map(vec![(Value::int(place as i64), values[0].clone())])];
    values.push(Value::List(nested));
    let mut call = Call::echo("random", values);
    let (float, integer) = (KEYS[place], KEYS[place + 2]);
    call.texts.push((float, format!("bits:{:016x}", number.to_bits())));
    if let Value::Int(value) = &call.positional[place + 2] {
        call.texts.push((integer, value.to_string()));
    }
    call
}

/// Keys of the first arguments.
const KEYS: [&str; 8] = ["arg_0", "arg_1", "arg_2", "arg_3", "arg_4", "arg_5", "arg_6", "arg_7"];

fn tensor(random: &mut Random, shared: &mut Vec<(DType, Storage)>) -> Tensor {
    let dtypes: Vec<_> = dtypes().collect();
    let dtype = *random.choose(&dtypes);
    let mut shape: Vec<_> = (0..random.below(5)).map(|_| *random.choose(&[0, 1, 2, 2, 3, 3, 4])).collect();
    // A packed number without a dimension is a case of its own.
    if dtype == DType::Float4E2M1FnX2 && shape.is_empty() {
        shape.push(2);
    }
    let strides = match random.below(3) {
        0 => row_major(&shape),
        1 => {
            let mut turned: Vec<_> = shape.iter().copied().rev().collect();
            turned = row_major(&turned);
            turned.reverse();
            turned
        }
        _ => shape.iter().map(|_| random.below(7)).collect(),
    };
    let offset = random.below(5);
    let reach: usize = shape.iter().zip(&strides).map(|(size, stride)| size.saturating_sub(1) * stride).sum();
    let needed = (offset + reach + 1) * dtype.item_size();
    // Any dtype divides 16 bytes.
    let known = shared.iter().find(|(other, storage)| {
        (*other == DType::Bool) == (dtype == DType::Bool) && storage.byte_len() >= needed
    });
    let storage = match known {
        Some((_, storage)) if random.below(2) == 0 => storage.clone(),
        _ => {
            let bytes = (needed + random.below(64)).next_multiple_of(16);
            random.storage(dtype, bytes / dtype.item_size())
        }
    };
    shared.push((dtype, storage.clone()));
    let requires_grad = matches!(dtype, DType::Float32 | DType::BFloat16) && random.below(4) == 0;
    let conj = matches!(dtype, DType::Complex64 | DType::Complex128) && random.below(2) == 0;
    let flags = Flags { requires_grad, conj, neg: false };
    Tensor { dtype, shape, strides, offset, storage, flags }
}

/// Draws code points of every width, lone surrogates among them.
fn text(random: &mut Random) -> Text {
    let mut text = Text::default();
    for _ in 0..random.below(12) {
        let end = *random.choose(&[0x20, 0x80, 0x800, 0x1_0000, 0x11_0000]);
        text.push_code_point(random.below(end) as u32);
    }
    text
}
