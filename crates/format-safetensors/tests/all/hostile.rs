//! The table of hostile files.

use callbox_core::error::chain;
use callbox_testkit::hostile::{Case, Expected, Kind, Refusal, of_kind};

use crate::decode;

fn check(case: Case) {
    let name = case.name;
    match (decode(case.bytes), case.expected) {
        (Err(error), Expected::Refused(refusal, says)) => {
            let message = chain(&error);
            assert_eq!(Refusal::of_format(&error), refusal, "{name}: {message}");
            assert!(message.contains(&says), "{name}: nothing of `{says}` in {message}");
        }
        (Ok(_), Expected::Read) => {}
        (found, expected) => panic!("{name}: {found:?} where {expected:?} was expected"),
    }
}

#[test]
fn every_hostile_file_is_refused_with_its_own_error() {
    of_kind(Kind::Safetensors).for_each(check);
}

#[test]
fn u58_no_name_occurs_twice() {
    let cases: Vec<_> =
        of_kind(Kind::Safetensors).filter(|case| case.name.starts_with("two_of_one_name")).collect();
    assert_eq!(cases.len(), 2);
    cases.into_iter().for_each(check);
}
