//! Measurements as a table for a terminal, or as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Measurement, Target};

/// Lays measurements out in 80 columns.
pub(crate) fn table(measurements: &[Measurement]) -> String {
    let mut table = row("", "best ms", "median ms", "GB/s", "ratio", "target");
    for measurement in measurements {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
        let target = match measurement.target {
            Some(Target::Ratio(ratio)) => format!("{ratio:.2}"),
            Some(Target::GigabytesPerSecond(rate)) => format!("{rate} GB/s"),
            None => String::new(),
        };
        table += &row(
            &measurement.what,
            &format!("{:.2}", milliseconds(measurement.best)),
            &format!("{:.2}", milliseconds(measurement.median)),
            &number(measurement.gigabytes_per_second()),
            &number(measurement.ratio),
            &target,
        );
    }
    table
}

/// Writes measurements as one array.
pub(crate) fn json(measurements: &[Measurement]) -> Value {
    measurements
        .iter()
        .map(|measurement| {
            let (target_ratio, target_rate) = match measurement.target {
                Some(Target::Ratio(ratio)) => (Some(ratio), None),
                Some(Target::GigabytesPerSecond(rate)) => (None, Some(rate)),
                None => (None, None),
            };
            json!({
                "what": measurement.what,
                "best_ms": milliseconds(measurement.best),
                "median_ms": milliseconds(measurement.median),
                "bytes": measurement.bytes,
                "gb_per_s": measurement.gigabytes_per_second(),
                "ratio": measurement.ratio,
                "target_ratio": target_ratio,
                "target_gb_per_s": target_rate,
            })
        })
        .collect()
}

fn row(what: &str, best: &str, median: &str, rate: &str, ratio: &str, target: &str) -> String {
    let mut row = String::new();
    write!(row, "{what:<36} {best:>9} {median:>9} {rate:>6} {ratio:>6} {target:>7}")
        .expect("a string takes any text");
    row.trim_end().to_owned() + "\n"
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement() -> Measurement {
        Measurement {
            what: "a session of 100,000 calls, listed".to_owned(),
            best: Duration::from_micros(123_456),
            median: Duration::from_micros(1_234_567),
            bytes: Some(370_000_000),
            ratio: Some(0.5),
            target: Some(Target::GigabytesPerSecond(1.0)),
        }
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let table = table(&[measurement()]);
        let expected = [
            "                                       best ms median ms   GB/s  ratio  target",
            "a session of 100,000 calls, listed      123.46   1234.57   3.00   0.50  1 GB/s",
        ];
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
        assert!(table.lines().all(|line| line.len() <= 80));
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = json(&[measurement()]);
        assert_eq!(json[0]["median_ms"], 1234.567);
        assert_eq!((&json[0]["target_ratio"], &json[0]["target_gb_per_s"]), (&Value::Null, &1.0.into()));
    }
}
