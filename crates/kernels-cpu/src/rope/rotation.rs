//! Turning pairs of elements.

use callbox_functions::Pairing;

/// Cosines and sines of the pairs of one token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turn {
    pub(crate) cosines: Vec<f32>,
    pub(crate) sines: Vec<f32>,
}

impl Turn {
    /// Turns pair `i` by `position * frequencies[i]` radians; the angle is rounded to f32 before its cosine is
    /// taken.
    pub(crate) fn at(position: f32, frequencies: &[f32]) -> Turn {
        let angles = frequencies.iter().map(|frequency| position * frequency);
        Turn { cosines: angles.clone().map(f32::cos).collect(), sines: angles.map(f32::sin).collect() }
    }

    /// Turns the pairs of the first `2 * cosines.len()` elements of a head: `(a, b)` becomes
    /// `(a cos - b sin, b cos + a sin)`.
    pub(crate) fn apply(&self, head: &mut [f32], pairing: Pairing) {
        let pairs = self.cosines.len();
        for (i, (cos, sin)) in self.cosines.iter().zip(&self.sines).enumerate() {
            let (first, second) = match pairing {
                Pairing::Halves => (i, i + pairs),
                Pairing::Neighbours => (2 * i, 2 * i + 1),
            };
            let (a, b) = (head[first], head[second]);
            head[first] = a * cos - b * sin;
            head[second] = b * cos + a * sin;
        }
    }
}

#[cfg(test)]
mod tests {
    use callbox_functions::{Frequencies, Stretch};

    use super::*;

    #[test]
    fn angles_are_rounded_to_f32() {
        // f32 cannot tell this position from the next, and the product below is rounded once more.
        let turn = Turn::at(16_777_217_i64 as f32, &[1.0]);
        assert_eq!(turn.cosines, [16_777_216_f32.cos()]);
        let frequencies = Frequencies { theta: 1e4, stretch: Stretch::Divided { scale: 1.0 } };
        let frequency = frequencies.of_pairs(4)[1];
        let angle = 5001.0 * frequency;
        assert_ne!(f64::from(angle), 5001.0 * f64::from(frequency));
        assert_eq!(Turn::at(5001.0, &[frequency]).sines, [angle.sin()]);
    }
}
