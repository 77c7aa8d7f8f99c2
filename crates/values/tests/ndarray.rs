//! Arrays of ndarray: what is borrowed, what is copied, and the way back.

#![expect(clippy::unwrap_used, reason = "a step of a test that fails is a failed test")]

use callbox_core::{DType, HostBytes, Layout, StorageBytes};
use callbox_values::{Element, FromValue, TensorBuf, TensorView, ToValue, Value, to_owned_value};
use half::{bf16, f16};
use ndarray::{
    ArcArray, Array, Array1, Array2, Array3, ArrayBase, ArrayD, CowArray, Data, Dimension, IxDyn,
    ShapeBuilder, array, s,
};

fn matrix() -> Array2<f32> {
    Array::from_shape_fn((3, 4), |(row, column)| (4 * row + column) as f32)
}

fn view<T: ToValue + ?Sized>(array: &T) -> TensorView<'_> {
    match array.to_value() {
        Value::Tensor(view) => view,
        other => panic!("{other:?}"),
    }
}

fn is_borrowed(view: &TensorView<'_>) -> bool {
    matches!(view.storage.bytes, StorageBytes::Host(HostBytes::Borrowed(_)))
}

/// Checks that the array comes back with its elements, and that its strides are these on both ways.
fn check<A, S, D>(array: &ArrayBase<S, D>, borrowed: bool, strides: &[usize])
where
    A: Element + PartialEq + std::fmt::Debug,
    S: Data<Elem = A>,
    D: Dimension,
{
    let view = view(array);
    assert_eq!((view.dtype, view.layout.shape()), (A::DTYPE, array.shape()));
    assert_eq!((is_borrowed(&view), view.layout.strides()), (borrowed, strides));
    let again = Array::<A, D>::from_value(to_owned_value(&Value::Tensor(view)).unwrap()).unwrap();
    assert_eq!(again.view(), array.view());
    if !array.is_empty() {
        let again: Vec<_> = again.strides().iter().map(|&stride| usize::try_from(stride).unwrap()).collect();
        assert_eq!(again, strides);
    }
}

#[test]
fn arrays_without_gaps_are_borrowed_with_their_strides() {
    let rows = matrix();
    check(&rows, true, &[4, 1]);
    check(&rows.t(), true, &[1, 4]);
    let mut columns = Array2::<f32>::zeros((3, 4).f());
    columns.assign(&rows);
    check(&columns, true, &[1, 3]);
    check(&rows.slice(s![1.., ..]), true, &[4, 1]);
    let cube = Array3::<i32>::from_shape_fn((2, 3, 4), |(a, b, c)| (a * 12 + b * 4 + c) as i32);
    check(&cube.permuted_axes([2, 0, 1]), true, &[1, 12, 4]);
}

#[test]
fn views_with_gaps_and_reversed_ones_are_copied_in_row_major_order() {
    let rows = matrix();
    check(&rows.slice(s![.., 1..3]), false, &[2, 1]);
    check(&rows.slice(s![..;2, ..]), false, &[4, 1]);
    check(&rows.slice(s![..;-1, ..]), false, &[4, 1]);
    check(&rows.slice(s![..;-1, ..;-1]), false, &[4, 1]);
    check(&array![1u8, 2].broadcast((3, 2)).unwrap(), false, &[2, 1]);
}

#[test]
fn arrays_of_one_and_of_no_element_come_back() {
    check(&Array::from_elem((), 1.5f64), true, &[]);
    check(&Array2::<f32>::zeros((0, 4)), false, &[4, 1]);
    check(&Array1::<f32>::zeros(0), false, &[1]);
    check(&matrix().slice(s![1..1, ..]), false, &[4, 1]);
}

#[test]
fn every_kind_of_storage_and_of_dimension_is_recordable() {
    let rows = matrix();
    check(&rows.clone().into_shared(), true, &[4, 1]);
    check(&CowArray::from(rows.view()), true, &[4, 1]);
    check(&rows.clone().into_dyn(), true, &[4, 1]);
    check(&rows.clone().view_mut(), true, &[4, 1]);
    assert_eq!(view(&*rows).layout.shape(), [3, 4], "a reference without its storage");
    let shared = ArcArray::<f32, IxDyn>::from_value(to_owned_value(&rows.to_value()).unwrap()).unwrap();
    assert_eq!(shared.view(), rows.view().into_dyn());
}

#[test]
fn every_element_type_comes_back() {
    fn check_type<A: Element + PartialEq + std::fmt::Debug>(elements: [A; 3]) {
        check(&Array1::from(elements.to_vec()), true, &[1]);
    }
    check_type([0.5f64, -1.0, 3.0]);
    check_type([0.5f32, -1.0, 3.0]);
    check_type([0.5, -1.0, 3.0].map(f16::from_f32));
    check_type([0.5, -1.0, 3.0].map(bf16::from_f32));
    check_type([i64::MIN, 0, i64::MAX]);
    check_type([i32::MIN, 0, i32::MAX]);
    check_type([i16::MIN, 0, i16::MAX]);
    check_type([i8::MIN, 0, i8::MAX]);
    check_type([u64::MIN, 0, u64::MAX]);
    check_type([u32::MIN, 0, u32::MAX]);
    check_type([u16::MIN, 0, u16::MAX]);
    check_type([u8::MIN, 0, u8::MAX]);
    check_type([true, false, true]);
}

#[test]
fn another_dtype_and_another_rank_are_refused_by_name() {
    let recorded = || to_owned_value(&matrix().to_value()).unwrap();
    let error = Array2::<f64>::from_value(recorded()).unwrap_err();
    assert_eq!(error.to_string(), "expected a tensor of torch.float64, found one of torch.float32");
    let error = Array1::<f32>::from_value(recorded()).unwrap_err();
    assert_eq!(error.to_string(), "expected a tensor of 1 dimensions, found one of shape [3, 4]");
}

#[test]
fn an_array_of_more_dimensions_than_a_tensor_has_is_a_text() {
    let deep = ArrayD::<u8>::zeros(IxDyn(&[1; 65]));
    assert!(matches!(deep.to_value(), Value::Opaque { class, .. } if class == "ndarray"));
}

#[test]
fn strides_that_ndarray_cannot_own_become_row_major() {
    let row = TensorBuf::from_f32(DType::Float32, &[2], &[1.0, 2.0]).unwrap();
    let expanded = row.with_layout(Layout::new(&[3, 2], &[0, 1], 0).unwrap()).unwrap();
    let array = Array2::<f32>::from_value(Value::Tensor(expanded)).unwrap();
    assert_eq!(array, array![[1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]);
    assert!(array.is_standard_layout());
}
