//! Measurements as a table for a terminal, or as JSON.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Measurement, Target};

/// Lays measurements out in 80 columns.
pub(crate) fn table(measurements: &[Measurement]) -> String {
    let mut table = row("", "best ms", "median ms", "rate", "ratio", "target");
    for measurement in measurements {
        let ratio = measurement.ratio.map(|ratio| format!("{ratio:.2}"));
        let rate = match (measurement.gigabytes_per_second(), measurement.nanoseconds_per_call()) {
            (Some(rate), _) => format!("{rate:.2} GB/s"),
            (None, Some(nanoseconds)) => {
                let (time, unit) = in_unit(nanoseconds);
                format!("{time:.1} {unit}")
            }
            (None, None) => String::new(),
        };
        let target = match measurement.target {
            Some(Target::Ratio(ratio)) => format!("{ratio:.2}"),
            Some(Target::GigabytesPerSecond(rate)) => format!("{rate} GB/s"),
            Some(Target::PerCall(time)) => {
                let (time, unit) = in_unit(nanoseconds(time));
                format!("{time} {unit}")
            }
            None => String::new(),
        };
        table += &row(
            &measurement.what,
            &format!("{:.2}", milliseconds(measurement.best)),
            &format!("{:.2}", milliseconds(measurement.median)),
            &rate,
            &ratio.unwrap_or_default(),
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
            let (target_ratio, target_rate, target_time) = match measurement.target {
                Some(Target::Ratio(ratio)) => (Some(ratio), None, None),
                Some(Target::GigabytesPerSecond(rate)) => (None, Some(rate), None),
                Some(Target::PerCall(time)) => (None, None, Some(nanoseconds(time))),
                None => (None, None, None),
            };
            json!({
                "what": measurement.what,
                "best_ms": milliseconds(measurement.best),
                "median_ms": milliseconds(measurement.median),
                "bytes": measurement.bytes,
                "calls": measurement.calls,
                "gb_per_s": measurement.gigabytes_per_second(),
                "ns_per_call": measurement.nanoseconds_per_call(),
                "ratio": measurement.ratio,
                "target_ratio": target_ratio,
                "target_gb_per_s": target_rate,
                "target_ns_per_call": target_time,
            })
        })
        .collect()
}

fn row(what: &str, best: &str, median: &str, rate: &str, ratio: &str, target: &str) -> String {
    let mut row = String::new();
    write!(row, "{what:<36} {best:>8} {median:>9} {rate:>9} {ratio:>6} {target:>6}")
        .expect("a string takes any text");
    row.trim_end().to_owned() + "\n"
}

/// Says nanoseconds in the unit that suits them.
fn in_unit(nanoseconds: f64) -> (f64, &'static str) {
    if nanoseconds < 1e3 { (nanoseconds, "ns") } else { (nanoseconds / 1e3, "µs") }
}

fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos() as f64
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurements() -> [Measurement; 2] {
        let session = Measurement {
            what: "a session of 100,000 calls, listed".to_owned(),
            best: Duration::from_micros(123_456),
            median: Duration::from_micros(1_234_567),
            bytes: Some(370_000_000),
            calls: None,
            ratio: Some(0.5),
            target: Some(Target::GigabytesPerSecond(1.0)),
        };
        let calls = Measurement {
            what: "500 calls, level 10".to_owned(),
            best: Duration::from_millis(60),
            median: Duration::from_millis(61),
            bytes: None,
            calls: Some(500),
            ratio: None,
            target: Some(Target::PerCall(Duration::from_micros(150))),
        };
        [session, calls]
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let table = table(&measurements());
        let expected = [
            "                                      best ms median ms      rate  ratio target",
            "a session of 100,000 calls, listed     123.46   1234.57 3.00 GB/s   0.50 1 GB/s",
            "500 calls, level 10                     60.00     61.00  120.0 µs        150 µs",
        ];
        assert_eq!(table.lines().collect::<Vec<_>>(), expected);
        assert!(table.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = json(&measurements());
        assert_eq!(json[0]["median_ms"], 1234.567);
        assert_eq!((&json[0]["target_ratio"], &json[0]["target_gb_per_s"]), (&Value::Null, &1.0.into()));
        assert_eq!(
            (&json[1]["ns_per_call"], &json[1]["target_ns_per_call"]),
            (&120_000.0.into(), &150_000.0.into())
        );
    }
}
