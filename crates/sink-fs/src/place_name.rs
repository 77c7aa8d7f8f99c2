//! The name of a call's folder: harmless, short enough for a file system, and different where it must be.

use std::fmt::Write;

use callbox_core::SlotName;

/// Longest part before `_call`, in bytes: 255, which file systems allow, without what follows at most.
const HEAD_BYTES: usize = 255 - "_4294967295".len() - "_call18446744073709551615".len();
/// What stands in place of the rest of a name that is too long: `~` and the hash of the whole.
const HASH_BYTES: usize = 1 + 16;

/// Spells the name of a call's folder; `taken` is the number of names that were tried before it.
///
/// A name as FlashInfer makes it stays as it is. What a path or a terminal would take amiss is percent-encoded, so
/// that it can be read back; a longer name ends with a hash of itself, and the record has the whole.
pub(crate) fn place_name(slot: &SlotName, taken: u32) -> String {
    let SlotName { timestamp, process_id, function, call_sequence } = slot;
    let mut name = shortened(harmless(format!("{timestamp}_pid{process_id}_{function}")));
    if taken > 0 {
        append(&mut name, format_args!("_{}", u64::from(taken) + 1));
    }
    append(&mut name, format_args!("_call{call_sequence:04}"));
    name
}

/// Encodes slashes, control characters and percent signs, and a dot at the start.
fn harmless(name: String) -> String {
    let is_harmless = |character: char| !character.is_control() && !matches!(character, '/' | '%');
    if name.chars().all(is_harmless) && !name.starts_with('.') {
        return name;
    }
    let mut encoded = String::with_capacity(name.len() + 16);
    for (place, character) in name.char_indices() {
        if is_harmless(character) && (place > 0 || character != '.') {
            encoded.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            append(&mut encoded, format_args!("%{byte:02X}"));
        }
    }
    encoded
}

fn shortened(mut name: String) -> String {
    if name.len() > HEAD_BYTES {
        let hash = fnv1a(name.as_bytes());
        name.truncate(name.floor_char_boundary(HEAD_BYTES - HASH_BYTES));
        append(&mut name, format_args!("~{hash:016x}"));
    }
    name
}

/// Fowler, Noll and Vo's hash (FNV-1a, 64 bits), the same in every version of this program.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a String takes any text");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slot(function: &str) -> SlotName {
        SlotName {
            timestamp: "20251204_143216_802".to_owned(),
            process_id: 1,
            function: function.to_owned(),
            call_sequence: 1,
        }
    }

    fn check(function: &str, taken: u32, rest: &str) {
        assert_eq!(place_name(&slot(function), taken), format!("20251204_143216_802_pid1_{rest}"));
    }

    #[test]
    fn a_name_is_flashinfer_s_and_counts_where_it_is_taken() {
        check("ToyWrapper.__init__", 0, "ToyWrapper.__init___call0001");
        check("name", 1, "name_2_call0001");
        check("name", 2, "name_3_call0001");
    }

    #[test]
    fn u60_a_hostile_name_is_encoded() {
        check("/../../etc/passwd", 0, "%2F..%2F..%2Fetc%2Fpasswd_call0001");
        check("a\0b\n%", 0, "a%00b%0A%25_call0001");
        let hidden = SlotName { timestamp: "..".to_owned(), ..slot("f") };
        assert_eq!(place_name(&hidden, 0), "%2E._pid1_f_call0001");
    }

    #[test]
    fn u33_a_long_name_ends_with_its_hash() {
        let (one, other) = ("é".repeat(200) + "1", "é".repeat(200) + "2");
        let names = [place_name(&slot(&one), 0), place_name(&slot(&other), 0)];
        assert_ne!(names[0], names[1]);
        assert!(names[0].starts_with("20251204_143216_802_pid1_éé") && names[0].ends_with("_call0001"));
        assert_eq!(SlotName::parse(&names[0]).unwrap().call_sequence, 1);
    }

    proptest! {
        #[test]
        fn any_name_is_one_visible_component(
            timestamp in any::<String>(),
            function in "\\PC{0,300}|[\u{0}-\u{ff}]{0,300}",
            process_id in any::<u64>(),
            call_sequence in any::<u64>(),
            taken in any::<u32>(),
        ) {
            let name = place_name(&SlotName { timestamp, process_id, function, call_sequence }, taken);
            prop_assert!(name.len() <= 255);
            prop_assert!(!name.starts_with('.'));
            prop_assert!(!name.chars().any(|c| c == '/' || c.is_control()));
        }
    }
}
