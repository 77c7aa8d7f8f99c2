//! Comparing two tensors element by element.

use callbox_core::elements::ElementError;
use callbox_core::narrow_float::E2M1_VALUES;
use callbox_core::{DType, DTypeKind, ResultRule, TensorBuf};

use super::tolerance::{CompareOptions, Tolerance};

/// How a tensor compares with the recorded one of the same shape and dtype.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorComparison {
    /// Which result: `result`, `result_1`, `result[0]`.
    pub place: String,
    /// Element type of both.
    pub dtype: DType,
    /// Sizes of both, in elements.
    pub shape: Vec<usize>,
    /// What is counted, and what the index of [`Worst`] points at.
    pub unit: Unit,
    /// Number of elements or codes compared.
    pub compared: usize,
    /// Number of elements that disagree.
    pub differing: usize,
    /// Number of disagreements that the rule forgives (codes one step apart).
    pub forgiven: usize,
    /// What was allowed; `None` where only equality was.
    pub tolerance: Option<Tolerance>,
    /// Largest absolute difference between finite elements.
    pub max_abs: f64,
    /// Largest difference relative to the expected value, where that is not zero.
    pub max_rel: f64,
    /// Cosine of the angle between the two tensors as vectors; `None` where one of them is zero or not finite.
    pub cosine: Option<f64>,
    /// The element that is furthest beyond what was allowed, or furthest off where all agree.
    pub worst: Option<Worst>,
    /// Per dimension the index that all disagreeing elements share, if they do.
    pub common: Vec<Option<usize>>,
}

/// What a comparison counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Elements of the tensor.
    #[default]
    Elements,
    /// e2m1 codes, two in each byte: the last dimension is twice as long.
    Codes,
}

/// One element with both its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// Index per dimension.
    pub index: Vec<usize>,
    /// Recorded value.
    pub expected: f64,
    /// Value of the replay.
    pub actual: f64,
}

impl TensorComparison {
    /// Tells whether the tensors agree.
    pub fn agrees(&self) -> bool {
        self.differing == 0
    }
}

/// Compares two tensors of equal shape and dtype.
pub(super) fn compare(
    place: &str,
    expected: &TensorBuf,
    actual: &TensorBuf,
    rule: ResultRule,
    options: &CompareOptions,
) -> Result<TensorComparison, ElementError> {
    expected.check_expansion()?;
    actual.check_expansion()?;
    let mut tally = Tally::new(expected.shape());
    match (rule, expected.dtype().kind()) {
        (ResultRule::PackedFp4, DTypeKind::Integer | DTypeKind::PackedFloat) => {
            tally.packed(&expected.to_bytes(), &actual.to_bytes());
        }
        (_, DTypeKind::Float) if expected.dtype() == DType::Float64 => {
            tally.floats(&expected.to_f64()?, &actual.to_f64()?, rule, expected.dtype(), options);
        }
        (_, DTypeKind::Float) => {
            tally.floats(&expected.to_f32()?, &actual.to_f32()?, rule, expected.dtype(), options);
        }
        (_, DTypeKind::Integer | DTypeKind::Bool | DTypeKind::Quantized) => {
            tally.exact(expected, actual, |dtype, element| {
                let element = TensorBuf::from_elements(dtype, &[], element.to_vec());
                let value = element.ok().and_then(|element| element.to_i64().ok()?.first().copied());
                value.map_or(f64::NAN, |value| value as f64)
            });
        }
        // No single number stands for such an element.
        (_, DTypeKind::PackedFloat | DTypeKind::Complex) => {
            tally.exact(expected, actual, |_, _| f64::NAN);
        }
    }
    Ok(tally.finish(place, expected))
}

/// What is added up while walking the elements.
#[derive(Debug, Default)]
struct Tally {
    shape: Vec<usize>,
    unit: Unit,
    differing: usize,
    forgiven: usize,
    tolerance: Option<Tolerance>,
    max_abs: f64,
    max_rel: f64,
    cosine: Option<f64>,
    worst: Option<(Excess, Worst)>,
    common: Vec<Option<usize>>,
}

/// How far an element is beyond what was allowed; negative where it is inside.
type Excess = f64;

impl Tally {
    fn new(shape: &[usize]) -> Tally {
        Tally { shape: shape.to_vec(), ..Tally::default() }
    }

    fn floats<T: Copy + Into<f64>>(
        &mut self,
        expected: &[T],
        actual: &[T],
        rule: ResultRule,
        dtype: DType,
        options: &CompareOptions,
    ) {
        let finite = expected.iter().map(|&value| value.into().abs()).filter(|value| value.is_finite());
        let tolerance = options.tolerance(rule, dtype, finite.fold(0.0, f64::max));
        self.tolerance = Some(tolerance);
        let mut angle = Angle::default();
        for (place, (&expected, &actual)) in expected.iter().zip(actual).enumerate() {
            let (expected, actual) = (expected.into(), actual.into());
            angle.add(expected, actual);
            let difference = difference(expected, actual, options.equal_nan);
            if difference > 0.0 {
                let allowed = tolerance.atol + tolerance.rtol * expected.abs();
                let excess = if difference.is_finite() { difference - allowed } else { difference };
                self.element(place, expected, actual, excess);
            }
        }
        self.cosine = angle.cosine();
    }

    /// Compares elements byte by byte; `value` reads those that differ.
    fn exact(&mut self, expected: &TensorBuf, actual: &TensorBuf, value: impl Fn(DType, &[u8]) -> f64) {
        let dtype = expected.dtype();
        let item_size = dtype.item_size();
        let (left, right) = (expected.to_bytes(), actual.to_bytes());
        for (place, (left, right)) in left.chunks(item_size).zip(right.chunks(item_size)).enumerate() {
            if left != right {
                let (expected, actual) = (value(dtype, left), value(dtype, right));
                self.element(place, expected, actual, distance(expected, actual));
            }
        }
    }

    /// Compares e2m1 codes, two a byte. One step between codes of equal sign is forgiven in at most one of a
    /// hundred codes: reciprocals differ in their last place between devices.
    fn packed(&mut self, expected: &[u8], actual: &[u8]) {
        self.unit = Unit::Codes;
        if let Some(last) = self.shape.last_mut() {
            *last *= 2;
        }
        let codes = |byte: &u8| [byte & 15, byte >> 4];
        let pairs = || expected.iter().flat_map(codes).zip(actual.iter().flat_map(codes));
        let near = |(expected, actual): (u8, u8)| {
            expected & 8 == actual & 8 && (expected & 7).abs_diff(actual & 7) == 1
        };
        let steps = pairs().filter(|&pair| near(pair)).count();
        let forgive = steps * 100 <= expected.len() * 2;
        self.forgiven = if forgive { steps } else { 0 };
        for (place, pair) in pairs().enumerate() {
            if pair.0 != pair.1 && !(forgive && near(pair)) {
                let value = |code: u8| f64::from(E2M1_VALUES[usize::from(code)]);
                let (expected, actual) = (value(pair.0), value(pair.1));
                self.element(place, expected, actual, distance(expected, actual));
            }
        }
    }

    fn element(&mut self, place: usize, expected: f64, actual: f64, excess: Excess) {
        let difference = (actual - expected).abs();
        if difference.is_finite() {
            self.max_abs = self.max_abs.max(difference);
            if expected != 0.0 {
                self.max_rel = self.max_rel.max(difference / expected.abs());
            }
        }
        if excess > 0.0 {
            self.differ(place);
        }
        let furthest = self.worst.as_ref().is_none_or(|(known, _)| excess > *known);
        if furthest {
            let index = unravel(place, &self.shape);
            self.worst = Some((excess, Worst { index, expected, actual }));
        }
    }

    fn differ(&mut self, place: usize) {
        let index = unravel(place, &self.shape);
        if self.differing == 0 {
            self.common = index.into_iter().map(Some).collect();
        } else {
            for (common, index) in self.common.iter_mut().zip(index) {
                *common = common.filter(|&common| common == index);
            }
        }
        self.differing += 1;
    }

    fn finish(self, place: &str, expected: &TensorBuf) -> TensorComparison {
        TensorComparison {
            place: place.to_owned(),
            dtype: expected.dtype(),
            shape: expected.shape().to_vec(),
            unit: self.unit,
            compared: self.shape.iter().product(),
            differing: self.differing,
            forgiven: self.forgiven,
            tolerance: self.tolerance,
            max_abs: self.max_abs,
            max_rel: self.max_rel,
            cosine: self.cosine,
            worst: self.worst.map(|(_, worst)| worst),
            common: self.common,
        }
    }
}

/// Returns how far apart two elements are whose bytes differ: never zero, though their values may be equal (two
/// zeros of different sign) or no numbers at all.
fn distance(expected: f64, actual: f64) -> Excess {
    difference(expected, actual, false).max(f64::MIN_POSITIVE)
}

/// Returns 0 for values that are equal (infinities of one sign too), infinity where one of them is not finite.
fn difference(expected: f64, actual: f64, equal_nan: bool) -> f64 {
    if expected == actual || (equal_nan && expected.is_nan() && actual.is_nan()) {
        return 0.0;
    }
    let difference = (actual - expected).abs();
    if difference.is_nan() { f64::INFINITY } else { difference }
}

#[derive(Debug, Default)]
struct Angle {
    product: f64,
    expected: f64,
    actual: f64,
}

impl Angle {
    fn add(&mut self, expected: f64, actual: f64) {
        self.product += expected * actual;
        self.expected += expected * expected;
        self.actual += actual * actual;
    }

    fn cosine(&self) -> Option<f64> {
        let cosine = self.product / (self.expected * self.actual).sqrt();
        cosine.is_finite().then_some(cosine)
    }
}

/// Turns the place in row-major order into an index per dimension.
fn unravel(mut place: usize, shape: &[usize]) -> Vec<usize> {
    let mut index = vec![0; shape.len()];
    for (slot, &size) in index.iter_mut().zip(shape).rev() {
        *slot = place % size.max(1);
        place /= size.max(1);
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: &TensorBuf, actual: &TensorBuf, rule: ResultRule) -> TensorComparison {
        compare("result", expected, actual, rule, &CompareOptions::default()).unwrap()
    }

    fn f32s(values: &[f32]) -> TensorBuf {
        TensorBuf::from_f32(DType::Float32, &[values.len()], values).unwrap()
    }

    fn bytes(dtype: DType, values: &[u8]) -> TensorBuf {
        TensorBuf::from_elements(dtype, &[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn u43_equal_special_values_agree_and_unequal_ones_do_not() {
        let expected = f32s(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0]);
        assert!(check(&expected, &expected, ResultRule::Values).agrees());
        let actual = f32s(&[0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NAN]);
        assert_eq!(check(&expected, &actual, ResultRule::Values).differing, 3);
    }

    #[test]
    fn nan_against_nan_can_be_made_a_difference() {
        let nan = f32s(&[f32::NAN]);
        let options = CompareOptions { equal_nan: false, ..CompareOptions::default() };
        let comparison = compare("result", &nan, &nan, ResultRule::Values, &options).unwrap();
        assert_eq!(comparison.differing, 1);
    }

    #[test]
    fn the_worst_element_is_the_one_furthest_beyond_its_own_limit() {
        let comparison = check(&f32s(&[1000.0, 1.0, 1.0]), &f32s(&[1000.05, 1.04, 1.0]), ResultRule::Values);
        assert_eq!(comparison.differing, 1);
        let worst = comparison.worst.unwrap();
        assert_eq!((worst.index, worst.expected), (vec![1], 1.0));
        assert!((comparison.max_abs - 0.05).abs() < 1e-3, "{}", comparison.max_abs);
    }

    #[test]
    fn what_all_differing_elements_share_is_found() {
        let expected = TensorBuf::from_f32(DType::Float32, &[2, 2, 2], &[0.0; 8]).unwrap();
        let actual =
            TensorBuf::from_f32(DType::Float32, &[2, 2, 2], &[0., 0., 9., 0., 0., 0., 9., 0.]).unwrap();
        assert_eq!(check(&expected, &actual, ResultRule::Values).common, [None, Some(1), Some(0)]);
    }

    #[test]
    fn zeros_in_place_of_small_values_do_not_pass() {
        let expected = f32s(&[1e-6; 64]);
        assert_eq!(check(&expected, &f32s(&[0.0; 64]), ResultRule::Values).differing, 64);
    }

    #[test]
    fn integers_bools_and_eight_bit_floats_are_compared_exactly() {
        for dtype in [DType::UInt8, DType::Bool, DType::Float8E4M3Fn, DType::QInt8] {
            assert!(check(&bytes(dtype, &[0, 1]), &bytes(dtype, &[0, 1]), ResultRule::Values).agrees());
            assert_eq!(
                check(&bytes(dtype, &[0, 1]), &bytes(dtype, &[1, 1]), ResultRule::Values).differing,
                1
            );
        }
    }

    #[test]
    fn the_worst_of_exactly_compared_elements_is_the_one_furthest_off() {
        let comparison =
            check(&bytes(DType::UInt8, &[1, 5, 0]), &bytes(DType::UInt8, &[2, 5, 255]), ResultRule::Values);
        assert_eq!((comparison.differing, comparison.max_abs), (2, 255.0));
        assert_eq!(comparison.worst.unwrap(), Worst { index: vec![2], expected: 0.0, actual: 255.0 });
    }

    #[test]
    fn one_step_of_an_fp4_code_is_forgiven_in_one_of_a_hundred() {
        let expected = bytes(DType::UInt8, &[0x22; 100]);
        let mut steps = vec![0x22; 100];
        steps[0] = 0x33;
        let comparison = check(&expected, &bytes(DType::UInt8, &steps), ResultRule::PackedFp4);
        assert_eq!((comparison.differing, comparison.forgiven, comparison.compared), (0, 2, 200));
        steps[1] = 0x23;
        assert_eq!(check(&expected, &bytes(DType::UInt8, &steps), ResultRule::PackedFp4).differing, 3);
        steps = vec![0x22; 100];
        steps[7] = 0x2a;
        let comparison = check(&expected, &bytes(DType::UInt8, &steps), ResultRule::PackedFp4);
        assert_eq!(comparison.worst.unwrap().index, [14]);
    }

    #[test]
    fn the_layout_does_not_matter_only_the_logical_elements() {
        let layout = callbox_core::Layout::new(&[2, 3], &[1, 2], 0).unwrap();
        let storage = TensorBuf::from_f32(DType::Float32, &[6], &[0., 3., 1., 4., 2., 5.]).unwrap();
        let transposed = storage.with_layout(layout).unwrap();
        let plain = TensorBuf::from_f32(DType::Float32, &[2, 3], &[0., 1., 2., 3., 4., 5.]).unwrap();
        assert!(check(&plain, &transposed, ResultRule::Values).agrees());
    }
}
