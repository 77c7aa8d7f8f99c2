//! The order in which block scales lie: by rows, or in tiles as tensor cores read them.
//!
//! A row of the matrix has one scale for each block of its elements: the scales form a matrix themselves.
//! Tiles are 512 or 32 bytes; they cover whole multiples of their height and of four columns, and what lies
//! beyond the matrix is zero. Source of the 128x4 tile: NVIDIA, cuBLAS documentation, "1D Block Scaling Factors
//! Layout".

/// The order of scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleLayout {
    /// Row-major, without padding.
    Linear,
    /// Tiles of 128 rows and 4 columns; rows `r`, `r + 32`, `r + 64` and `r + 96` lie next to each other.
    Tiles128x4,
    /// Tiles of 8 rows and 4 columns, row-major inside.
    Tiles8x4,
}

/// A matrix of scales in some order.
#[derive(Clone, Copy, Debug)]
pub struct ScaleGrid {
    layout: ScaleLayout,
    /// Rows and columns with their padding.
    rows: usize,
    columns: usize,
}

impl ScaleGrid {
    /// Lays out the scales of `rows` rows of `columns` blocks; `None` if there are more than an address can
    /// count.
    pub fn new(layout: ScaleLayout, rows: usize, columns: usize) -> Option<ScaleGrid> {
        let (tile_rows, tile_columns) = match layout {
            ScaleLayout::Linear => (1, 1),
            ScaleLayout::Tiles128x4 => (128, 4),
            ScaleLayout::Tiles8x4 => (8, 4),
        };
        let rows = rows.checked_next_multiple_of(tile_rows)?;
        let columns = columns.checked_next_multiple_of(tile_columns)?;
        rows.checked_mul(columns)?;
        Some(ScaleGrid { layout, rows, columns })
    }

    /// Returns the order.
    pub fn layout(&self) -> ScaleLayout {
        self.layout
    }

    /// Returns the rows and columns, padding included.
    pub fn shape(&self) -> [usize; 2] {
        [self.rows, self.columns]
    }

    /// Returns the number of bytes, padding included.
    pub fn byte_len(&self) -> usize {
        self.rows * self.columns
    }

    /// Returns the byte at which the scale of a row and a block lies.
    pub fn place(&self, row: usize, column: usize) -> usize {
        let tile = |height: usize| ((row / height) * (self.columns / 4) + column / 4) * height * 4;
        match self.layout {
            ScaleLayout::Linear => row * self.columns + column,
            ScaleLayout::Tiles128x4 => tile(128) + (row % 32) * 16 + (row % 128 / 32) * 4 + column % 4,
            ScaleLayout::Tiles8x4 => tile(8) + (row % 8) * 4 + column % 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tile_of_128_rows_interleaves_its_quarters() {
        let grid = ScaleGrid::new(ScaleLayout::Tiles128x4, 130, 5).unwrap();
        assert_eq!(grid.shape(), [256, 8]);
        for (row, column, place) in [
            (0, 0, 0),
            (0, 3, 3),
            (32, 0, 4),
            (64, 1, 9),
            (127, 3, 511),
            (1, 0, 16),
            (0, 4, 512),
            (128, 0, 1024),
        ] {
            assert_eq!(grid.place(row, column), place, "({row}, {column})");
        }
    }

    #[test]
    fn a_tile_of_8_rows_is_row_major() {
        let grid = ScaleGrid::new(ScaleLayout::Tiles8x4, 9, 6).unwrap();
        assert_eq!(grid.shape(), [16, 8]);
        for (row, column, place) in [(0, 3, 3), (1, 0, 4), (7, 3, 31), (0, 4, 32), (8, 0, 64)] {
            assert_eq!(grid.place(row, column), place, "({row}, {column})");
        }
    }

    #[test]
    fn sizes_beyond_an_address_are_refused() {
        for layout in [ScaleLayout::Linear, ScaleLayout::Tiles128x4, ScaleLayout::Tiles8x4] {
            assert!(ScaleGrid::new(layout, 1 << 40, 1 << 40).is_none());
        }
        assert!(ScaleGrid::new(ScaleLayout::Tiles128x4, usize::MAX, 0).is_none());
    }

    proptest! {
        #[test]
        fn every_scale_has_a_place_of_its_own(rows in 0usize..300, columns in 0usize..20) {
            for layout in [ScaleLayout::Linear, ScaleLayout::Tiles128x4, ScaleLayout::Tiles8x4] {
                let grid = ScaleGrid::new(layout, rows, columns).unwrap();
                let mut taken = vec![false; grid.byte_len()];
                for row in 0..rows {
                    for column in 0..columns {
                        let place = grid.place(row, column);
                        prop_assert!(!std::mem::replace(&mut taken[place], true));
                    }
                }
                prop_assert_eq!(taken.iter().filter(|taken| **taken).count(), rows * columns);
            }
        }
    }
}
