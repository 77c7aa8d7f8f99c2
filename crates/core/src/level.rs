//! How much is recorded.

/// A level of FlashInfer's logging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 0: nothing.
    #[default]
    Off,
    /// 1: names of functions.
    Names,
    /// 3: names, arguments and results.
    Values,
    /// 5: the same with statistics of tensors.
    Statistics,
    /// 10: the same, and all tensors on disk.
    Dumps,
}

impl Level {
    /// Reads a level's number; one between two levels means the lower one, one above 10 means 10.
    ///
    /// FlashInfer's own recorder writes no call at all at 2; here it is 1, as everywhere the next lower level.
    pub fn from_number(number: u64) -> Level {
        match number {
            0 => Level::Off,
            1..3 => Level::Names,
            3..5 => Level::Values,
            5..10 => Level::Statistics,
            10.. => Level::Dumps,
        }
    }

    /// Returns the level's number.
    pub fn number(self) -> u8 {
        match self {
            Level::Off => 0,
            Level::Names => 1,
            Level::Values => 3,
            Level::Statistics => 5,
            Level::Dumps => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_between_two_levels_means_the_lower_one() {
        let expected = [0, 1, 1, 3, 3, 5, 5, 5, 5, 5, 10, 10];
        for (number, expected) in (0..).zip(expected) {
            assert_eq!(Level::from_number(number).number(), expected, "{number}");
        }
        assert_eq!(Level::from_number(u64::MAX), Level::Dumps);
    }
}
