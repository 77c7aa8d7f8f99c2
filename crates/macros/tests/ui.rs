//! What the attribute refuses, and what it says.

#![cfg(not(feature = "max-level-off"))]

#[test]
fn what_cannot_be_recorded_is_refused_with_a_reason() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    cases.compile_fail("tests/ui/fail/*.rs");
}
