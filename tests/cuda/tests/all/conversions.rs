//! The kernels' own float types against the reference's conversions.

use callbox_core::narrow_float::{E2M1_VALUES, encode_e2m1};
use callbox_core::{DType, TensorBuf};
use callbox_cuda_tests::{Launch, Memory};

use crate::trial::{Numbers, launch};

const TYPES: [(DType, &str); 4] = [
    (DType::Float16, "f16"),
    (DType::BFloat16, "bf16"),
    (DType::Float8E4M3Fn, "e4m3"),
    (DType::Float8E5M2, "e5m2"),
];

fn decode(suffix: &str, codes: &[u8], count: usize) -> Vec<f32> {
    let values = Memory::unwritten(4 * count);
    let codes = Memory::new(codes);
    let arguments = [(&codes).into(), (&values).into(), (count as u64).into()];
    launch(&format!("decode_{suffix}"), Launch::new(3, 64), &arguments);
    let bytes = values.to_bytes();
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn encode(suffix: &str, values: &[f32], item_size: usize) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let given = Memory::new(&bytes);
    let codes = Memory::unwritten(item_size * values.len());
    let arguments = [(&given).into(), (&codes).into(), (values.len() as u64).into()];
    launch(&format!("encode_{suffix}"), Launch::new(3, 64), &arguments);
    codes.to_bytes()
}

#[test]
fn every_code_has_the_value_of_the_reference() {
    for (dtype, suffix) in TYPES {
        let count = 1usize << (8 * dtype.item_size());
        let codes: Vec<u8> = match dtype.item_size() {
            1 => (0..=u8::MAX).collect(),
            _ => (0..=u16::MAX).flat_map(u16::to_le_bytes).collect(),
        };
        let tensor = TensorBuf::from_elements(dtype, &[count], codes.clone()).unwrap();
        let expected = tensor.to_f32().unwrap();
        for (code, (actual, expected)) in decode(suffix, &codes, count).iter().zip(expected).enumerate() {
            let same = actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan());
            assert!(same, "{suffix} {code:#x} is {actual}, the reference has {expected}");
        }
    }
    let codes: Vec<u8> = (0..16).collect();
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&decode("e2m1", &codes, 16)), bits(&E2M1_VALUES));
}

/// Values around every code of a type, half way between codes and next to that, and any bits.
fn hard_values(dtype: DType) -> Vec<f32> {
    let n_codes = 1u32 << (8 * dtype.item_size());
    let codes: Vec<u8> =
        (0..n_codes).flat_map(|code| code.to_le_bytes().into_iter().take(dtype.item_size())).collect();
    let tensor = TensorBuf::from_elements(dtype, &[n_codes as usize], codes).unwrap();
    let mut values = tensor.to_f32().unwrap();
    let pairs: Vec<f32> = values.windows(2).map(|pair| pair[0] / 2.0 + pair[1] / 2.0).collect();
    values.extend(pairs);
    values.extend([
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        65519.996,
        65520.0,
        464.0,
        465.0,
        61440.0,
    ]);
    let near: Vec<f32> =
        values.iter().flat_map(|value| [value.next_up(), value.next_down(), -value]).collect();
    values.extend(near);
    let mut numbers = Numbers::new(5);
    values.extend((0..200_000).map(|_| f32::from_bits(numbers.bits())));
    values.extend((0..200_000).map(|_| numbers.value() * (-(numbers.below(20) as f32)).exp2()));
    values
}

#[test]
fn values_are_rounded_as_the_reference_does_it() {
    for (dtype, suffix) in TYPES {
        let values = hard_values(dtype);
        let size = dtype.item_size();
        let expected = TensorBuf::from_f32(dtype, &[values.len()], &values).unwrap().to_bytes();
        let actual = encode(suffix, &values, size);
        for ((value, actual), expected) in values.iter().zip(actual.chunks(size)).zip(expected.chunks(size)) {
            assert_eq!(actual, expected, "{value:e} ({:#010x}) as {suffix}", value.to_bits());
        }
    }
    let values = hard_values(DType::Float8E4M3Fn);
    let expected: Vec<u8> = values.iter().map(|value| encode_e2m1(*value)).collect();
    assert_eq!(encode("e2m1", &values, 1), expected);
}
