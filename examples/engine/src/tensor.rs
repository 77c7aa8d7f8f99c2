//! The engine's tensor: f32, row-major.

use std::fmt;

use callbox::{
    FromValue, FromValueError, LiveValue, OwnedValue, TensorBuf, ToValue, Value, elements_of, tensor_of,
};

/// A matrix of f32, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    rows: usize,
    columns: usize,
    elements: Vec<f32>,
}

/// Two tensors, or a tensor and its elements, do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError(pub String);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ShapeError {}

impl Tensor {
    /// Takes the elements of a matrix, row by row.
    pub fn new(rows: usize, columns: usize, elements: Vec<f32>) -> Result<Tensor, ShapeError> {
        if rows * columns != elements.len() {
            return Err(ShapeError(format!("{rows} x {columns} is not {} elements", elements.len())));
        }
        Ok(Tensor { rows, columns, elements })
    }

    /// Returns rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Returns the elements, row by row.
    pub fn elements(&self) -> &[f32] {
        &self.elements
    }

    /// Returns the elements for writing.
    pub fn elements_mut(&mut self) -> &mut [f32] {
        &mut self.elements
    }

    /// Iterates over the rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.elements.chunks(self.columns.max(1))
    }
}

/// All that a recorder needs to know of the type.
impl ToValue for Tensor {
    fn to_value(&self) -> LiveValue<'_> {
        match tensor_of(&self.elements, &[self.rows, self.columns]) {
            Ok(view) => Value::Tensor(view),
            Err(error) => Value::Opaque { class: "Tensor".to_owned(), repr: error.to_string().into() },
        }
    }
}

/// All that a replay needs to know of it.
impl FromValue for Tensor {
    fn from_value(value: OwnedValue) -> Result<Tensor, FromValueError> {
        let tensor = TensorBuf::from_value(value)?;
        let [rows, columns] = *tensor.shape() else {
            return Err(FromValueError::Rank { expected: 2, shape: tensor.shape().to_vec() });
        };
        Ok(Tensor { rows, columns, elements: elements_of(&tensor)? })
    }
}
