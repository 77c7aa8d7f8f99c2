//! The lines behind a verdict: which result differs, by how much, where.

use callbox_replay::{CallReport, Comparison, TensorComparison, Unit, Worst};

use crate::{style, units};

/// Tells whether `FLASHINFER_LOGLEVEL` asks for details: 1 or more.
///
/// The level is read as Python reads an integer; anything else is no level, and is told.
#[expect(clippy::disallowed_methods, reason = "a command reads its environment")]
pub(crate) fn wanted() -> bool {
    let Ok(text) = std::env::var("FLASHINFER_LOGLEVEL") else {
        return false;
    };
    match level(&text) {
        Some(level) => level >= 1,
        None => {
            style::tell(&format!("note: FLASHINFER_LOGLEVEL is `{text}`, not a number: taken as 0"));
            false
        }
    }
}

fn level(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

/// Describes what is behind a verdict.
pub(crate) fn details(report: &CallReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &report.recorded_error {
        lines.push(style::clean(&format!("recorded {}: {}: {}", error.kind, error.type_name, error.text)));
    }
    if let Some(reason) = &report.recorded_reason {
        lines.push(style::clean(&format!("outputs were not recorded: {reason}")));
    }
    lines.extend(report.printed.iter().flat_map(|printed| last_lines(printed)));
    let Some(comparison) = &report.comparison else {
        // What could not be compared is shown.
        lines.extend(report.returned.iter().map(|text| format!("returned  {text}")));
        return lines;
    };
    for difference in &comparison.differences {
        let (place, expected, actual) = (&difference.place, &difference.expected, &difference.actual);
        lines.push(style::clean(&format!("{place}  expected {expected}, got {actual}")));
    }
    comparison.tensors.iter().for_each(|tensor| lines.extend(describe_tensor(tensor)));
    if comparison.tensors.is_empty() && comparison.differences.is_empty() {
        lines.push(without_tensors(comparison));
    }
    lines
}

/// Shows the last that a call printed which ended its process; `--json` has more of it.
fn last_lines(printed: &str) -> Vec<String> {
    const SHOWN: usize = 8;
    let lines: Vec<_> = printed.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN)..];
    last.iter().map(|line| format!("printed  {}", style::clean(line))).collect()
}

/// Says what a comparison without tensors came to.
fn without_tensors(comparison: &Comparison) -> String {
    match comparison.compared {
        0 => "it returns nothing to compare: what it writes into its arguments was not recorded after \
                   the call"
            .to_owned(),
        compared => format!("{} returned as recorded", units::counted(compared, "value")),
    }
}

fn describe_tensor(tensor: &TensorComparison) -> Vec<String> {
    let place = style::clean(&tensor.place);
    let head = format!("{place}  {} {}", tensor.dtype.name(), units::shape(&tensor.shape));
    let indent = " ".repeat(place.chars().count() + 2);
    let unit = match tensor.unit {
        Unit::Elements => "elements",
        Unit::Codes => "e2m1 codes (two a byte)",
    };
    let allowed = match tensor.tolerance {
        Some(tolerance) => {
            format!("tolerance rtol {} atol {}", units::float(tolerance.rtol), units::float(tolerance.atol))
        }
        None if tensor.forgiven > 0 => format!("{} one step apart, forgiven", tensor.forgiven),
        None => "compared exactly".to_owned(),
    };
    let compared = units::count(tensor.compared);
    if tensor.agrees() {
        let farthest = match tensor.max_abs {
            0.0 => "all equal".to_owned(),
            max_abs => {
                format!("largest difference abs {}{}", units::float(max_abs), relative(tensor.max_rel))
            }
        };
        return vec![format!("{head}: {compared} {unit} agree, {allowed}; {farthest}")];
    }
    let mut lines = vec![format!(
        "{head}: {} of {compared} {unit} differ ({}), {allowed}",
        units::count(tensor.differing),
        units::percent(tensor.differing, tensor.compared),
    )];
    lines.extend(tensor.worst.as_ref().map(|worst| format!("{indent}{}", worst_text(worst, tensor.cosine))));
    lines.extend(common(tensor).map(|line| format!("{indent}{line}")));
    lines
}

fn worst_text(worst: &Worst, cosine: Option<f64>) -> String {
    let Worst { index, expected, actual } = worst;
    let distance = (actual - expected).abs();
    let distance = match distance.is_finite() {
        true => format!(" (abs {}{})", units::float(distance), relative(distance / expected.abs())),
        false => String::new(),
    };
    let cosine = cosine.map_or(String::new(), |cosine| format!("; cosine {cosine:.5}"));
    format!("worst at {index:?}: expected {expected}, got {actual}{distance}{cosine}")
}

/// Writes a relative difference, where there is one: beside a zero there is none.
fn relative(difference: f64) -> String {
    if difference.is_finite() && difference > 0.0 {
        return format!(", rel {}", units::float(difference));
    }
    String::new()
}

/// Says what all differing elements share, where that narrows the search.
fn common(tensor: &TensorComparison) -> Option<String> {
    if tensor.differing < 2 || tensor.common.iter().all(Option::is_none) {
        return None;
    }
    let index: Vec<_> =
        tensor.common.iter().map(|index| index.map_or("*".to_owned(), |index| index.to_string())).collect();
    Some(format!("all {} lie at [{}]", units::count(tensor.differing), index.join(", ")))
}

#[cfg(test)]
mod tests {
    use callbox_core::DType;
    use callbox_replay::Tolerance;

    use super::*;

    fn comparison() -> TensorComparison {
        TensorComparison {
            place: "result".to_owned(),
            dtype: DType::BFloat16,
            shape: vec![4, 64, 128],
            unit: Unit::Elements,
            compared: 32_768,
            differing: 3,
            forgiven: 0,
            tolerance: Some(Tolerance { rtol: 1.6e-2, atol: 1e-2 }),
            max_abs: 0.1875,
            max_rel: 0.059,
            cosine: Some(0.99998),
            worst: Some(Worst { index: vec![2, 17, 5], expected: 3.171875, actual: 2.984375 }),
            common: vec![Some(2), Some(17), None],
        }
    }

    #[test]
    fn a_mismatch_tells_how_many_by_how_much_and_where() {
        let expected = [
            "result  bfloat16 [4, 64, 128]: 3 of 32,768 elements differ (0.0092 %), tolerance rtol 1.6e-2 atol 1e-2",
            "        worst at [2, 17, 5]: expected 3.171875, got 2.984375 (abs 0.1875, rel 5.9e-2); cosine 0.99998",
            "        all 3 lie at [2, 17, *]",
        ];
        assert_eq!(describe_tensor(&comparison()), expected);
    }

    #[test]
    fn an_agreement_tells_how_close_it_was() {
        let agreement =
            TensorComparison { differing: 0, max_abs: 0.0009765625, max_rel: 1e-3, ..comparison() };
        let expected = "result  bfloat16 [4, 64, 128]: 32,768 elements agree, tolerance rtol 1.6e-2 atol 1e-2; \
                        largest difference abs 9.8e-4, rel 1e-3";
        assert_eq!(describe_tensor(&agreement), [expected]);
    }

    #[test]
    fn the_level_is_read_as_python_reads_it() {
        for (text, expected) in
            [("1", Some(1)), (" 3 ", Some(3)), ("+1", Some(1)), ("", Some(0)), ("3.0", None)]
        {
            assert_eq!(level(text), expected, "{text}");
        }
    }
}
