use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dtype::DTypeKind;
use crate::error::StageError;
use crate::ports::MockDeviceMemory;
use crate::tensor::Flags;

const DTYPES: [DType; 11] = [
    DType::Float64,
    DType::Float32,
    DType::Float16,
    DType::BFloat16,
    DType::Float8E4M3Fn,
    DType::Float8E5M2,
    DType::Int64,
    DType::Int32,
    DType::Int16,
    DType::Int8,
    DType::UInt8,
];
const NEGATIVE: Flags = Flags { requires_grad: false, conj: false, neg: true };

fn floats(dtype: DType, values: &[f32]) -> TensorBuf {
    TensorBuf::from_f32(dtype, &[values.len()], values).unwrap()
}

fn elements<const N: usize, const M: usize>(dtype: DType, elements: [[u8; N]; M]) -> TensorBuf {
    TensorBuf::from_elements(dtype, &[M], elements.concat()).unwrap()
}

/// What the numbers look like in FlashInfer's log.
fn printed(tensor: &TensorBuf) -> String {
    match Statistics::of(&tensor.as_view()) {
        Statistics::Taken(Stats::Integer { min, max, mean }) => format!("{min} {max} {mean:.6}"),
        Statistics::Taken(Stats::Float { min, max, mean, special: SpecialCounts { nan, infinite } }) => {
            format!("{min:.6} {max:.6} {mean:.6} {nan} {infinite}").to_lowercase()
        }
        other => format!("{other:?}"),
    }
}

fn check(tensor: &TensorBuf, expected: &str) {
    assert_eq!(printed(tensor), expected, "{tensor:?}");
}

#[test]
fn the_numbers_are_those_of_flashinfers_log() {
    use DType::{BFloat16, Float8E4M3Fn, Float8E5M2, Float16, Float32, Float64};
    const NAN: f32 = f32::NAN;
    let six = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    for dtype in [Float64, Float32, Float16, BFloat16, Float8E4M3Fn, Float8E5M2] {
        check(&floats(dtype, &six), "0.000000 5.000000 2.500000 0 0");
    }
    let matrix = TensorBuf::from_f32(Float32, &[2, 3], &six).unwrap();
    let transposed = matrix.with_layout(Layout::new(&[3, 2], &[1, 3], 0).unwrap()).unwrap();
    check(&transposed, "0.000000 5.000000 2.500000 0 0");
    let expanded = floats(Float32, &[1.0; 3]).with_layout(Layout::new(&[4, 3], &[0, 1], 0).unwrap());
    check(&expanded.unwrap(), "1.000000 1.000000 1.000000 0 0");
    check(&TensorBuf::from_f32(Float32, &[], &[3.5]).unwrap(), "3.500000 3.500000 3.500000 0 0");

    for (dtype, values, expected) in [
        (Float32, &[-0.0][..], "-0.000000 -0.000000 0.000000 0 0"),
        (Float32, &[1.0, -0.0], "-0.000000 1.000000 0.500000 0 0"),
        (Float32, &[-1e-9, 1e-9, -1e-9], "-0.000000 0.000000 -0.000000 0 0"),
        (Float32, &[NAN, 1.0, f32::INFINITY], "nan nan nan 1 1"),
        (Float32, &[NAN; 3], "nan nan nan 3 0"),
        (Float32, &[f32::INFINITY, f32::NEG_INFINITY, 1.0], "-inf inf nan 0 2"),
        (Float32, &[f32::NEG_INFINITY, 1.0], "-inf 1.000000 -inf 0 1"),
        (Float32, &[123_456_789.125, 4e-7], "0.000000 123456792.000000 61728396.000000 0 0"),
        (
            Float32,
            &[1e-30, 1e30],
            "0.000000 1000000015047466219876688855040.000000 500000007523733109938344427520.000000 0 0",
        ),
        (Float16, &[65504.0; 10], "65504.000000 65504.000000 65504.000000 0 0"),
        (BFloat16, &[257.0, 1.0], "1.000000 256.000000 128.500000 0 0"),
        (Float8E4M3Fn, &[1.0, 448.0, -2.0], "-2.000000 448.000000 149.000000 0 0"),
        (Float8E5M2, &[1.0, 57344.0], "1.000000 57344.000000 28672.500000 0 0"),
    ] {
        check(&floats(dtype, values), expected);
    }
    let codes = [[0xff], [0x7f], [0x7c], [0xfc]];
    check(&elements(Float8E5M2, codes), "nan nan nan 2 2");
    check(&elements(Float8E4M3Fn, codes), "nan nan nan 2 0");
}

#[test]
fn wide_floats_are_rounded_to_f32_first() {
    let check = |values: [f64; 2], expected| {
        check(&elements(DType::Float64, values.map(f64::to_le_bytes)), expected);
    };
    check([1e300, 1.0], "1.000000 inf inf 0 1");
    check([16_777_217.0, 0.0], "0.000000 16777216.000000 8388608.000000 0 0");
}

#[test]
fn integers_keep_their_extremes_and_give_f32_to_the_mean() {
    let wide = |values: [i64; 3]| elements(DType::Int64, values.map(i64::to_le_bytes));
    for (tensor, expected) in [
        (
            wide([i64::MAX, i64::MIN, i64::MAX]),
            "-9223372036854775808 9223372036854775807 3074457437244227584.000000",
        ),
        (wide([(1 << 53) + 1, (1 << 53) + 3, 5]), "5 9007199254740995 6004799682117632.000000"),
        (wide([(1 << 24) + 1; 3]), "16777217 16777217 16777216.000000"),
        (
            elements(DType::Int32, [i32::MAX, i32::MIN, i32::MAX].map(i32::to_le_bytes)),
            "-2147483648 2147483647 715827904.000000",
        ),
        (elements(DType::Int16, [-32768i16, 32767, 5].map(i16::to_le_bytes)), "-32768 32767 1.333333"),
        (elements(DType::Int8, [-128i8, 127, 5].map(i8::to_le_bytes)), "-128 127 1.333333"),
        (elements(DType::UInt8, [[0], [255]]), "0 255 127.500000"),
        (
            elements(DType::Int8, [-128i8, 5, 127].map(i8::to_le_bytes)).with_flags(NEGATIVE),
            "-128 -5 -86.666664",
        ),
    ] {
        check(&tensor, expected);
    }
}

#[test]
fn a_sum_beyond_f32_is_infinite_and_one_that_comes_back_is_not() {
    check(
        &floats(DType::Float32, &[3e38; 2]).with_flags(NEGATIVE),
        &format!("{0:.6} {0:.6} -inf 0 0", -3e38f32),
    );
    let mut there_and_back = vec![3e38; 1024];
    there_and_back[512..].fill(-3e38);
    check(&floats(DType::Float32, &there_and_back), &format!("{:.6} {:.6} 0.000000 0 0", -3e38f32, 3e38f32));
}

#[test]
fn of_zeros_the_negative_one_is_less() {
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        check(&floats(DType::Float32, &zeros), "-0.000000 0.000000 0.000000 0 0");
    }
}

#[test]
fn other_dtypes_and_empty_tensors_have_none() {
    for dtype in DType::all() {
        let one = TensorBuf::from_elements(dtype, &[1], vec![0; dtype.item_size()]).unwrap();
        let none = TensorBuf::from_elements(dtype, &[2, 0], Vec::new()).unwrap();
        let is_taken = matches!(Statistics::of(&one.as_view()), Statistics::Taken(_));
        assert_eq!(is_taken, DTYPES.contains(&dtype), "{dtype}");
        assert_eq!(Statistics::of(&none.as_view()), Statistics::None, "{dtype}");
        assert_eq!(Stats::of(&none), None, "{dtype}");
    }
}

#[test]
fn expanding_costs_nothing_and_overlapping_has_a_limit() {
    let pair = floats(DType::Float32, &[f32::INFINITY, 2.0]);
    let expanded = pair.with_layout(Layout::new(&[1 << 40, 2, 1 << 20], &[0, 1, 0], 0).unwrap()).unwrap();
    check(&expanded, &format!("2.000000 inf inf 0 {}", 1u64 << 60));

    let storage = floats(DType::Float32, &[1.0; 10_000]);
    let windows = storage.with_layout(Layout::new(&[5000, 5000], &[1, 1], 0).unwrap()).unwrap();
    let Statistics::Failed(reason) = Statistics::of(&windows.as_view()) else { panic!("more than 2^24") };
    assert!(reason.contains("25000000 elements over a storage of 10000"), "{reason}");
}

/// Takes the statistics of four f32 in the memory of a device.
fn on_device(flags: Flags, expect: impl FnOnce(&mut MockDeviceMemory)) -> Statistics {
    let mut memory = MockDeviceMemory::new();
    expect(&mut memory);
    let host = floats(DType::Float32, &[0.0; 4]).with_flags(flags);
    let mut view = host.as_view();
    view.storage.bytes = StorageBytes::Device(&memory);
    Statistics::of(&view)
}

#[test]
fn while_a_graph_is_captured_nothing_is_read_and_the_device_is_not_asked() {
    // A mock panics at a call that it does not expect.
    let statistics = on_device(Flags::default(), |memory| {
        memory.expect_capturing().return_const(true);
    });
    assert_eq!(statistics, Statistics::Capturing);
}

#[test]
fn what_the_device_computed_is_taken_unless_the_tensor_is_marked_as_negative() {
    let stats = Stats::Integer { min: 1, max: 2, mean: 1.5 };
    let statistics = on_device(Flags::default(), |memory| {
        memory.expect_capturing().return_const(false);
        memory.expect_statistics().return_const(stats);
    });
    assert_eq!(statistics, Statistics::Taken(stats));

    let statistics = on_device(NEGATIVE, |memory| {
        memory.expect_capturing().return_const(false);
        memory.expect_byte_len().return_const(16usize);
        memory.expect_read().returning(|_, out| {
            out.copy_from_slice(&[1f32, 2.0, 3.0, 4.0].map(f32::to_le_bytes).concat());
            Ok(())
        });
    });
    let special = SpecialCounts::default();
    assert_eq!(statistics, Statistics::Taken(Stats::Float { min: -4.0, max: -1.0, mean: -2.5, special }));
}

#[test]
fn memory_that_cannot_be_read_gives_the_reason() {
    let statistics = on_device(Flags::default(), |memory| {
        memory.expect_capturing().return_const(false);
        memory.expect_statistics().return_const(None);
        memory.expect_byte_len().return_const(16usize);
        memory.expect_read().returning(|_, _| Err(StageError::Device("out of reach".into())));
    });
    assert_eq!(statistics, Statistics::Failed("the device failed: out of reach".to_owned()));
}

/// The statistics by their definition, and the mean magnitude of the elements.
fn plain(tensor: &TensorBuf) -> Option<(Stats, f64)> {
    let values: Vec<f64> = tensor.to_f32().ok()?.into_iter().map(f64::from).collect();
    let numel = values.len() as f64;
    let magnitude = values.iter().map(|value| value.abs()).sum::<f64>() / numel;
    let mean = (values.iter().sum::<f64>() / numel) as f32;
    if let Ok(integers) = tensor.to_i64() {
        let (min, max) = (*integers.iter().min()?, *integers.iter().max()?);
        return Some((Stats::Integer { min, max, mean }, magnitude));
    }
    let count = |is: fn(f64) -> bool| values.iter().filter(|value| is(**value)).count() as u64;
    let special = SpecialCounts { nan: count(f64::is_nan), infinite: count(f64::is_infinite) };
    let [min, max] = if special.nan > 0 {
        [f32::NAN; 2]
    } else {
        let values = values.iter().copied();
        [values.clone().min_by(f64::total_cmp)? as f32, values.max_by(f64::total_cmp)? as f32]
    };
    Some((Stats::Float { min, max, mean, special }, magnitude))
}

fn means_agree(mean: f32, expected: f32, magnitude: f64) -> bool {
    let apart = (f64::from(mean) - f64::from(expected)).abs();
    (mean.is_nan() && expected.is_nan()) || mean == expected || apart <= 2e-6 * magnitude
}

fn agree(stats: Stats, expected: Stats, magnitude: f64) -> bool {
    match (stats, expected) {
        (Stats::Integer { min, max, mean }, Stats::Integer { min: least, max: greatest, mean: middle }) => {
            (min, max) == (least, greatest) && means_agree(mean, middle, magnitude)
        }
        (
            Stats::Float { min, max, mean, special },
            Stats::Float { min: least, max: greatest, mean: middle, special: counts },
        ) => {
            let same =
                |one: f32, other: f32| one.to_bits() == other.to_bits() || one.is_nan() && other.is_nan();
            same(min, least)
                && same(max, greatest)
                && special == counts
                && means_agree(mean, middle, magnitude)
        }
        (Stats::Integer { .. }, Stats::Float { .. }) | (Stats::Float { .. }, Stats::Integer { .. }) => false,
    }
}

/// Sizes at which groups, tiles, blocks and pieces end, and their neighbours.
fn size() -> impl Strategy<Value = usize> {
    let border = prop::sample::select(vec![8usize, 64, 128, 256, 1024, 2048, 16_384, 32_768, 65_536]);
    prop_oneof![1usize..130, (border, 0usize..3).prop_map(|(border, by)| border + by - 1)]
}

fn layout() -> impl Strategy<Value = Layout> {
    let small = prop::collection::vec((0usize..5, 0usize..9), 0..5);
    let small = small.prop_map(|dims| dims.into_iter().unzip());
    let large = (size(), 0usize..5).prop_map(|(size, kind)| match kind {
        0 => (vec![size], vec![1]),
        1 => (vec![size], vec![2]),
        2 => (vec![3, size], vec![0, 1]),
        3 => (vec![size.div_ceil(100), 100], vec![130, 1]),
        _ => (vec![size, 2], vec![1, size]),
    });
    (prop_oneof![small, large], 0usize..4).prop_map(|((shape, strides), offset): ((Vec<_>, Vec<_>), _)| {
        Layout::new(&shape, &strides, offset).unwrap()
    })
}

/// A tensor of finite elements of many magnitudes, with special ones at the given places.
fn tensor(dtype: DType, layout: Layout, seed: u32, special: &[(usize, f32)], flags: Flags) -> TensorBuf {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let value = |bits: u32| (bits as f32 / 8_388_608.0 - 1.0) * f32::powi(2.0, (bits % 40) as i32 - 26);
    let mut values: Vec<f32> = (0..layout.end()).map(|_| value(random())).collect();
    for (place, value) in special {
        if let Some(slot) = values.get_mut(*place) {
            *slot = *value;
        }
    }
    let mut bytes = TensorBuf::from_f32(dtype, &[values.len()], &values).unwrap().storage().to_vec();
    if matches!(dtype, DType::Int64 | DType::Int32 | DType::Int16 | DType::Int8 | DType::UInt8) {
        bytes.fill_with(|| random() as u8);
    }
    TensorBuf::new(dtype, layout, Bytes::from(bytes)).unwrap().with_flags(flags)
}

proptest! {
    #[test]
    fn the_numbers_are_those_of_a_plain_loop(
        dtype in prop::sample::select(&DTYPES[..]),
        layout in layout(),
        seed in any::<u32>(),
        special in prop::collection::vec(
            (size(), prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0])),
            0..3,
        ),
        neg in any::<bool>(),
    ) {
        // The plain loop reads integers without their marks.
        let flags = Flags { neg: neg && dtype.kind() == DTypeKind::Float, ..Flags::default() };
        let tensor = tensor(dtype, layout, seed, &special, flags);
        let stats = Stats::of(&tensor);
        if tensor.numel() == 0 {
            prop_assert_eq!(stats, None);
        } else {
            let (expected, magnitude) = plain(&tensor).unwrap();
            let stats = stats.unwrap();
            prop_assert!(agree(stats, expected, magnitude), "{:?}: {:?}, not {:?}", tensor, stats, expected);
        }
    }
}
