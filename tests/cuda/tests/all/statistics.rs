//! `statistics.cu` against the numbers that the core computes.

use callbox_core::{DType, Layout, SpecialCounts, Stats, TensorBuf};
use callbox_cuda_tests::{Argument, Launch, Memory};

use crate::trial::{Numbers, launch};

const DTYPES: [(DType, &str); 11] = [
    (DType::Float64, "f64"),
    (DType::Float32, "f32"),
    (DType::Float16, "f16"),
    (DType::BFloat16, "bf16"),
    (DType::Float8E4M3Fn, "e4m3"),
    (DType::Float8E5M2, "e5m2"),
    (DType::Int64, "i64"),
    (DType::Int32, "i32"),
    (DType::Int16, "i16"),
    (DType::Int8, "i8"),
    (DType::UInt8, "u8"),
];

const PARTIAL_BYTES: usize = 40;
const STATISTICS_BYTES: usize = 48;
const MAX_DIMS: usize = 8;

/// The structure `View`.
fn view(layout: &Layout) -> Argument<'static> {
    let dims = if layout.is_contiguous() { 0 } else { layout.shape().len() };
    let mut view = Argument::structure().u64(layout.numel() as u64).u64(dims as u64);
    for sizes in [layout.shape(), layout.strides()] {
        for dim in 0..MAX_DIMS {
            view = view.u64(sizes.get(dim).map_or(0, |&size| size as u64));
        }
    }
    view
}

fn run(tensor: &TensorBuf, suffix: &str, blocks: usize, threads: u32) -> Stats {
    let storage = Memory::new(tensor.storage());
    let partials = Memory::unwritten(blocks * PARTIAL_BYTES);
    let numbers = Memory::unwritten(STATISTICS_BYTES);
    let first = tensor.layout().offset() * tensor.dtype().item_size();
    let arguments =
        [Argument::structure().memory_at(&storage, first), view(tensor.layout()), (&partials).into()];
    launch(&format!("statistics_partial_{suffix}"), Launch::new(blocks, threads), &arguments);
    let kind = if suffix.starts_with(['i', 'u']) { "integer" } else { "float" };
    let arguments =
        [(&partials).into(), (blocks as u32).into(), (tensor.numel() as u64).into(), (&numbers).into()];
    launch(&format!("statistics_finish_{kind}"), Launch::new(1, threads), &arguments);

    let bytes = numbers.to_bytes();
    let (words, halves) = (bytes.as_chunks::<8>().0, bytes.as_chunks::<4>().0);
    let (word, float) = (|i: usize| u64::from_le_bytes(words[i]), |i: usize| f32::from_le_bytes(halves[i]));
    match kind {
        "integer" => {
            Stats::Integer { min: word(0).cast_signed(), max: word(1).cast_signed(), mean: float(6) }
        }
        _ => Stats::Float {
            min: float(4),
            max: float(5),
            mean: float(6),
            special: SpecialCounts { nan: word(4), infinite: word(5) },
        },
    }
}

fn check(tensor: &TensorBuf, suffix: &str) {
    let expected = Stats::of(tensor).unwrap();
    let values = tensor.to_f64().unwrap();
    let largest =
        values.iter().filter(|value| value.is_finite()).fold(0f64, |largest, value| largest.max(value.abs()));
    let near = |actual: f32, expected: f32| {
        let difference = (f64::from(actual) - f64::from(expected)).abs();
        actual == expected || (actual.is_nan() && expected.is_nan()) || difference <= 2e-6 * largest
    };
    let same = |actual: f32, expected: f32| {
        actual.to_bits() == expected.to_bits() || (actual.is_nan() && expected.is_nan())
    };
    for (blocks, threads) in [(1, 32), (3, 64), (2, 256)] {
        let actual = run(tensor, suffix, blocks, threads);
        let agrees = match (actual, expected) {
            (
                Stats::Float { min, max, mean, special },
                Stats::Float { min: least, max: greatest, mean: middle, special: counts },
            ) => same(min, least) && same(max, greatest) && near(mean, middle) && special == counts,
            (
                Stats::Integer { min, max, mean },
                Stats::Integer { min: least, max: greatest, mean: middle },
            ) => (min, max) == (least, greatest) && near(mean, middle),
            _ => false,
        };
        assert!(agrees, "{actual:?}, the core has {expected:?} for {suffix} {:?}", tensor.layout());
    }
}

/// Any bytes: among floats NaN, infinities, subnormal numbers.
fn any_bytes(dtype: DType, shape: &[usize], numbers: &mut Numbers) -> TensorBuf {
    let len = shape.iter().product::<usize>() * dtype.item_size();
    let bytes = (0..len).map(|_| numbers.bits() as u8).collect();
    TensorBuf::from_elements(dtype, shape, bytes).unwrap()
}

fn is_float(suffix: &str) -> bool {
    !suffix.starts_with(['i', 'u'])
}

/// Numbers that are finite in every dtype.
fn finite(dtype: DType, suffix: &str, shape: &[usize], numbers: &mut Numbers) -> TensorBuf {
    if !is_float(suffix) {
        return any_bytes(dtype, shape, numbers);
    }
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| numbers.value()).collect();
    match dtype {
        DType::Float64 => {
            let bytes = values.iter().flat_map(|value| (f64::from(*value) / 3.0).to_le_bytes()).collect();
            TensorBuf::from_elements(dtype, shape, bytes).unwrap()
        }
        _ => TensorBuf::from_f32(dtype, shape, &values).unwrap(),
    }
}

#[test]
fn tensors_of_every_dtype_have_the_numbers_of_the_core() {
    let mut numbers = Numbers::new(1);
    for (dtype, suffix) in DTYPES {
        for count in [1, 2, 15, 64, 999] {
            check(&finite(dtype, suffix, &[count], &mut numbers), suffix);
            check(&any_bytes(dtype, &[count], &mut numbers), suffix);
        }
    }
}

#[test]
fn values_that_are_not_finite_are_counted_and_decide_the_mean() {
    let (inf, nan, huge) = (f32::INFINITY, f32::NAN, f32::MAX);
    let cases: [&[f32]; 8] = [
        &[1.0, inf, 2.0, inf],
        &[-inf, 1.0],
        &[inf, -inf],
        &[nan, 1.0, inf, nan],
        &[0.0, -0.0],
        &[-0.0, 0.0, 0.0],
        &[huge, huge, -1.0],
        &[f32::from_bits(1), -f32::MIN_POSITIVE],
    ];
    for values in cases {
        for (dtype, suffix) in &DTYPES[1..6] {
            let tensor = TensorBuf::from_f32(*dtype, &[values.len()], values).unwrap();
            check(&tensor, suffix);
        }
        let doubles = values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect();
        check(&TensorBuf::from_elements(DType::Float64, &[values.len()], doubles).unwrap(), "f64");
    }
    let beyond = [1e300f64, -1.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    check(&TensorBuf::from_elements(DType::Float64, &[2], beyond).unwrap(), "f64");
}

#[test]
fn views_count_their_elements_only() {
    let mut numbers = Numbers::new(3);
    // Shape, strides, offset: transposed, with gaps, repeated, of eight dimensions.
    let layouts: [(&[usize], &[usize], usize); 5] = [
        (&[5, 7], &[1, 5], 0),
        (&[4, 9], &[20, 2], 3),
        (&[3, 6, 2], &[7, 0, 1], 1),
        (&[2, 1, 3, 1, 2, 2, 1, 3], &[200, 7, 60, 7, 20, 8, 7, 2], 2),
        (&[17], &[3], 1),
    ];
    for (dtype, suffix) in DTYPES {
        for (shape, strides, offset) in layouts {
            let layout = Layout::new(shape, strides, offset).unwrap();
            let storage = finite(dtype, suffix, &[layout.end()], &mut numbers).to_bytes();
            check(&TensorBuf::new(dtype, layout, storage.into()).unwrap(), suffix);
        }
    }
}
