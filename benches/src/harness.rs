//! Timing variants of one thing against each other.

use std::time::{Duration, Instant};

/// One variant, measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Measurement {
    /// What was done.
    pub(crate) what: String,
    /// The best round.
    pub(crate) best: Duration,
    /// The middle round.
    pub(crate) median: Duration,
    /// Bytes that a round worked on, where a rate says more than a time.
    pub(crate) bytes: Option<u64>,
    /// Calls that a round made, where the time of one says more.
    pub(crate) calls: Option<u32>,
    /// The baseline's best time over this one's; `None` for a baseline.
    pub(crate) ratio: Option<f64>,
    /// What was aimed at.
    pub(crate) target: Option<Target>,
}

/// A figure to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// At least this ratio to the baseline.
    Ratio(f64),
    /// At least this many gigabytes (10^9) a second.
    GigabytesPerSecond(f64),
    /// At most this long for one call.
    PerCall(Duration),
}

/// One variant to measure.
pub(crate) struct Variant<'a> {
    what: String,
    calls: Option<u32>,
    target: Option<Target>,
    run: Box<dyn FnMut() -> anyhow::Result<()> + 'a>,
    clear: Box<dyn FnMut() -> anyhow::Result<()> + 'a>,
}

impl<'a> Variant<'a> {
    /// Names a piece of work.
    pub(crate) fn new(what: impl Into<String>, run: impl FnMut() -> anyhow::Result<()> + 'a) -> Variant<'a> {
        Variant {
            what: what.into(),
            calls: None,
            target: None,
            run: Box::new(run),
            clear: Box::new(|| Ok(())),
        }
    }

    /// Undoes after each round, outside of its time, what the round left behind.
    pub(crate) fn cleared_by(mut self, clear: impl FnMut() -> anyhow::Result<()> + 'a) -> Variant<'a> {
        self.clear = Box::new(clear);
        self
    }

    /// Says how many calls a round makes.
    pub(crate) fn of_calls(mut self, calls: u32) -> Variant<'a> {
        self.calls = Some(calls);
        self
    }

    /// Says what is aimed at.
    pub(crate) fn with_target(mut self, target: Target) -> Variant<'a> {
        self.target = Some(target);
        self
    }
}

impl Measurement {
    /// Returns the rate of the best round in gigabytes (10^9) a second.
    pub(crate) fn gigabytes_per_second(&self) -> Option<f64> {
        self.bytes.map(|bytes| bytes as f64 / self.best.as_secs_f64() / 1e9)
    }

    /// Returns the nanoseconds of one call in the best round.
    pub(crate) fn nanoseconds_per_call(&self) -> Option<f64> {
        self.calls.map(|calls| self.best.as_secs_f64() * 1e9 / f64::from(calls))
    }
}

/// Runs the variants in turn, once to warm up and then `rounds` times; the first is the baseline of the others.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
pub(crate) fn race(
    rounds: usize,
    bytes: Option<u64>,
    mut variants: Vec<Variant<'_>>,
) -> anyhow::Result<Vec<Measurement>> {
    let mut times = vec![Vec::with_capacity(rounds); variants.len()];
    for round in 0..=rounds {
        for (variant, times) in variants.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (variant.run)()?;
            let time = start.elapsed();
            (variant.clear)()?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    let baseline = times[0][0].as_secs_f64();
    Ok(variants
        .into_iter()
        .zip(&times)
        .enumerate()
        .map(|(place, (variant, times))| Measurement {
            what: variant.what,
            best: times[0],
            median: times[times.len() / 2],
            bytes,
            calls: variant.calls,
            ratio: (place > 0).then(|| baseline / times[0].as_secs_f64()),
            target: variant.target,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn variants_take_turns_and_the_first_is_the_baseline() {
        let order = Cell::new(0);
        let turn = |expected: usize| {
            let order = &order;
            move || {
                assert_eq!(order.replace(order.get() + 1) % 2, expected);
                Ok(())
            }
        };
        let measured =
            race(3, Some(8), vec![Variant::new("a", turn(0)), Variant::new("b", turn(1))]).unwrap();
        assert_eq!(order.get(), 8);
        assert_eq!(measured[0].ratio, None);
        assert!(measured[1].ratio.is_some_and(|ratio| ratio > 0.0));
        assert!(measured[0].best <= measured[0].median);
    }
}
