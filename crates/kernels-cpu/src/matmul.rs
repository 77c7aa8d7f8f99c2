//! Products of f32 matrices.
//!
//! The one place that calls the matrix multiplication, which takes raw pointers: sizes are checked here, so
//! that callers need not be trusted.

/// An f32 matrix inside a slice; strides count elements.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Reads the start of `values` as a row-major matrix.
    ///
    /// # Panics
    ///
    /// If there are fewer than `rows * columns` values.
    pub(crate) fn row_major(values: &'a [f32], rows: usize, columns: usize) -> Matrix<'a> {
        assert!(
            rows.checked_mul(columns).is_some_and(|count| count <= values.len()),
            "{} values for a matrix of {rows} x {columns}",
            values.len()
        );
        Matrix { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Returns the transpose, over the same values.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// Computes `out = a * b`, row-major, on one thread; sums are taken in f32, in an order of the library's
/// choosing.
///
/// # Panics
///
/// If `a` has not as many columns as `b` has rows, or `out` not as many values as the product.
pub(crate) fn sgemm(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    assert_eq!(a.columns, b.rows, "the inner sizes of a product");
    assert_eq!(Some(out.len()), a.rows.checked_mul(b.columns), "the size of a product");
    let stride = |stride: usize| isize::try_from(stride).expect("a slice has at most isize::MAX elements");
    #[expect(unsafe_code, reason = "the library takes raw pointers")]
    // SAFETY: `Matrix` is built by `row_major` alone, which checks that `rows * columns` values are there, and
    // its strides reach each of them once; transposing keeps the elements. `out` has a row's worth of values
    // for each row, by the assertion above, and is borrowed exclusively, so it overlaps neither input.
    unsafe {
        matrixmultiply::sgemm(
            a.rows,
            a.columns,
            b.columns,
            1.0,
            a.values.as_ptr(),
            stride(a.row_stride),
            stride(a.column_stride),
            b.values.as_ptr(),
            stride(b.row_stride),
            stride(b.column_stride),
            0.0,
            out.as_mut_ptr(),
            stride(b.columns),
            1,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn naive(a: &[f32], b: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
        let element = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
        (0..m).flat_map(|i| (0..n).map(move |j| element(i, j))).collect()
    }

    fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
        (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
    }

    proptest! {
        // Small integers: every order of summation gives the same sum.
        #[test]
        fn a_product_is_the_sum_of_products_whichever_way_its_factors_lie(
            (m, k, n) in (0usize..12, 0usize..12, 0usize..12),
            seed in prop::collection::vec(-8i8..8, 288),
        ) {
            let values: Vec<f32> = seed.into_iter().map(f32::from).collect();
            let (a, b) = (&values[..m * k], &values[144..144 + k * n]);
            let expected = naive(a, b, (m, k, n));
            let (at, bt) = (transpose(a, m, k), transpose(b, k, n));
            for (a, b) in [
                (Matrix::row_major(a, m, k), Matrix::row_major(b, k, n)),
                (Matrix::row_major(&at, k, m).transposed(), Matrix::row_major(&bt, n, k).transposed()),
            ] {
                let mut out = vec![f32::NAN; m * n];
                sgemm(a, b, &mut out);
                prop_assert_eq!(&out, &expected);
            }
        }
    }
}
