//! Whatever goes into a value comes out of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use callbox_core::{DType, Device, Layout};
use callbox_testkit::strategies;
use callbox_values::{FromValue, TensorBuf, ToValue, Value, elements_of, tensor_of, to_owned_value};
use half::{bf16, f16};
use proptest::prelude::*;

fn back<T: ToValue + FromValue>(value: &T) -> T {
    T::from_value(to_owned_value(&value.to_value()).unwrap()).unwrap()
}

fn check<T: ToValue + FromValue + PartialEq + Debug>(value: T) {
    assert_eq!(back(&value), value);
}

#[test]
fn the_ends_of_every_integer_come_back() {
    macro_rules! check_ends {
        ($($integer:ty),+) => { $( check([<$integer>::MIN, 0, 1, <$integer>::MAX]); )+ };
    }
    check_ends!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);
}

#[test]
fn special_floats_come_back() {
    check([f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, f32::MAX]);
    assert!(back(&f32::NAN).is_nan());
    assert!(back(&-0.0f32).is_sign_negative());
    for bits in 0..=u16::MAX {
        let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
        assert!(half.is_nan() || back(&half).to_bits() == bits);
        assert!(brain.is_nan() || back(&brain).to_bits() == bits);
    }
}

#[test]
fn names_come_back() {
    DType::all().for_each(check);
    [Device::Cpu, Device::Cuda(0), Device::Cuda(7)].into_iter().for_each(check);
}

proptest! {
    #[test]
    fn scalars_come_back(value: (bool, char, i64, u128, f32, f64, String, Option<u8>, ())) {
        check(value);
    }

    #[test]
    fn sequences_come_back(
        value: (Vec<Option<i16>>, [u8; 4], VecDeque<String>, HashSet<i64>, BTreeSet<String>, Box<[f64]>)
    ) {
        check(value);
    }

    #[test]
    fn maps_come_back(value: (HashMap<String, Vec<u32>>, BTreeMap<(i8, bool), Option<String>>)) {
        check(value);
    }

    #[test]
    fn pointers_come_back(value: (Box<u8>, Arc<String>, Rc<Vec<i32>>, Arc<str>)) {
        check(value.clone());
        check((Cow::<'static, str>::Owned(value.3.to_string()), Cow::<'static, [i32]>::Owned(value.2.to_vec())));
    }

    #[test]
    fn opaque_values_come_back(nanos: u64, range: Range<i64>, path in "[a-z/ .]{0,12}") {
        check((Duration::from_nanos(nanos), range, PathBuf::from(path)));
    }

    #[test]
    fn tensors_come_back(tensor in strategies::tensor()) {
        let copy = back(&tensor);
        prop_assert_eq!(copy.to_meta(), tensor.to_meta());
        prop_assert_eq!(copy.to_bytes(), tensor.to_bytes());
    }

    #[test]
    fn slices_come_back_through_a_tensor(
        floats in prop::collection::vec(any::<f32>(), 0..20),
        flags: [bool; 6],
        integers: Vec<i64>,
    ) {
        prop_assert_eq!(through_a_tensor(&floats), floats);
        prop_assert_eq!(through_a_tensor(&integers), integers);
        prop_assert_eq!(through_a_tensor(&flags), flags);
    }
}

fn through_a_tensor<T: callbox_values::Element>(elements: &[T]) -> Vec<T> {
    let view = tensor_of(elements, &[elements.len()]).unwrap();
    let tensor = TensorBuf::from_value(to_owned_value(&view.to_value()).unwrap()).unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (T::DTYPE, &[elements.len()][..]));
    elements_of(&tensor).unwrap()
}

#[test]
fn a_slice_becomes_a_tensor_of_any_shape_that_it_fills() {
    let elements: Vec<f32> = (0..6u8).map(f32::from).collect();
    let view = tensor_of(&elements, &[3, 2]).unwrap();
    assert_eq!(view.layout, Layout::contiguous(&[3, 2]).unwrap());
    let Value::Tensor(tensor) = to_owned_value(&view.to_value()).unwrap() else { panic!("no tensor") };
    assert_eq!(tensor.to_f32().unwrap(), elements);
}
