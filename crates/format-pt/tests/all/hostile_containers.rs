//! Archives whose headers lie, and archives that are not what torch writes.

use std::io::{Cursor, Write};

use callbox_core::LoadedTensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::forge::value::{dict, storage, tensor};
use crate::forge::{Entry, Forgery, archive, archive_of, check_refused, decode};

/// Place of the entry that holds the tensor's bytes.
const STORAGE: usize = 1;

#[track_caller]
fn check(change: impl FnOnce(&mut Forgery), kind: &str, reason: &str) {
    check_refused(Forgery::with(change), kind, reason);
}

fn pickle() -> Vec<u8> {
    dict(&[("a", tensor(storage("FloatStorage", "0", 4), 0, &[4], &[1]))])
}

#[test]
fn a_plain_archive_of_an_older_torch_is_read() {
    for file in [
        archive(&pickle(), &[&[7; 16]]),
        Forgery::honest().bytes(),
        // No `version` at all, and 64-bit sizes where 32 bits would do.
        {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            let large =
                SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
            for (name, data) in [("x/data.pkl", pickle().as_slice()), ("x/data/0", &[7; 16])] {
                zip.start_file(name, large).unwrap();
                zip.write_all(data).unwrap();
            }
            zip.finish().unwrap().into_inner()
        },
    ] {
        match decode(file).unwrap().get("a") {
            Some(LoadedTensor::Whole(tensor)) => assert_eq!(tensor.to_bytes(), [7; 16]),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_compressed_entry_is_not_inflated() {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(&pickle()).unwrap();
    let mut file = zip.finish().unwrap().into_inner();
    let at = file.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    file[8] = 8;
    file[at + 10] = 8;
    check_refused(file, "unsupported: ", "is compressed (method 8)");
    check(|zip| zip.entries[STORAGE].local.method = 8, "inconsistent: ", "contradicts the central directory");
}

#[test]
fn an_encrypted_or_patched_entry_is_unsupported() {
    check(|zip| zip.entries[STORAGE].both(|header| header.flags = 1), "unsupported: ", "is encrypted");
    for flags in [1 << 5, 1 << 6, 1 << 13] {
        check(
            |zip| zip.entries[STORAGE].both(|header| header.flags = flags),
            "unsupported: ",
            "has the zip flags",
        );
    }
}

#[test]
fn a_symbolic_link_is_refused() {
    let link = |zip: &mut Forgery| {
        zip.entries[STORAGE].central.made_by = 3 << 8;
        zip.entries[STORAGE].central.attributes = 0o120_777 << 16;
    };
    check(link, "refused: ", "is a symbolic link");
}

#[test]
fn names_that_could_lead_elsewhere_are_refused() {
    for name in [
        "archive/../x",
        "../x",
        "/abs/x",
        "archive//x",
        "archive/./x",
        "archive/x/",
        "C:\\x\\y",
        "archive/a\0b",
    ] {
        let rename = |zip: &mut Forgery| {
            zip.entries[STORAGE].both(|header| header.name = name.as_bytes().to_vec());
        };
        check(rename, "refused: ", "an entry is named");
    }
    let not_utf8 =
        |zip: &mut Forgery| zip.entries[STORAGE].both(|header| header.name = b"archive/\xff".to_vec());
    check(not_utf8, "refused: ", "an entry is named");
    let long = "x".repeat(65_000);
    let rename =
        |zip: &mut Forgery| zip.entries[STORAGE].both(|header| header.name = long.clone().into_bytes());
    check(rename, "inconsistent: ", "lies in no folder");
}

#[test]
fn all_entries_lie_in_one_folder_and_no_two_have_one_name() {
    let elsewhere = |zip: &mut Forgery| zip.entries.push(Entry::honest("other/data.pkl", &pickle()));
    check(elsewhere, "inconsistent: ", "lies outside the folder of the others");
    let twice = |zip: &mut Forgery| zip.entries.push(Entry::honest("archive/data/0", &[8; 16]));
    check(twice, "inconsistent: ", "there are two entries `archive/data/0`");
}

#[test]
fn the_local_header_agrees_with_the_central_directory() {
    let contradiction = "the local header of entry `archive/data/0` contradicts the central directory";
    let lies: [fn(&mut Entry); 6] = [
        |entry| entry.local.name = b"archive/data/9".to_vec(),
        |entry| entry.local.size = 15,
        |entry| entry.local.stored_size = 0,
        |entry| entry.local.crc ^= 1,
        |entry| entry.local.crc = 0,
        |entry| entry.local.flags = 1 << 11,
    ];
    for lie in lies {
        check(|zip| lie(&mut zip.entries[STORAGE]), "inconsistent: ", contradiction);
    }
}

#[test]
fn sizes_behind_the_data_agree_too() {
    let deferred = |descriptor: [u32; 3]| {
        move |zip: &mut Forgery| {
            let entry = &mut zip.entries[STORAGE];
            entry.both(|header| header.flags = 1 << 3);
            (entry.local.crc, entry.local.size, entry.local.stored_size) = (0, 0, 0);
            entry.descriptor = [b"PK\x07\x08".to_vec(), descriptor.map(u32::to_le_bytes).concat()].concat();
        }
    };
    let crc = crc32fast::hash(&[7; 16]);
    assert!(decode(Forgery::with(deferred([crc, 16, 16]))).is_ok());
    for lie in [[crc ^ 1, 16, 16], [crc, 15, 16], [crc, 16, 17], [0, 16, 16]] {
        check(deferred(lie), "inconsistent: ", "the record behind entry");
    }
}

#[test]
fn a_checksum_is_verified_where_there_is_one() {
    check(|zip| zip.entries[STORAGE].data[3] ^= 4, "checksum of `data/0`", "the file is damaged");
    let not_computed = Forgery::with(|zip| {
        zip.entries[STORAGE].data[3] ^= 4;
        zip.entries[STORAGE].both(|header| header.crc = 0);
    });
    assert_eq!(decode(not_computed).unwrap().unchecked(), ["data/0"]);
    assert!(decode(Forgery::honest().bytes()).unwrap().unchecked().is_empty());
}

#[test]
fn entries_fill_the_file_without_overlap_or_gap() {
    let overlap = |zip: &mut Forgery| zip.entries[2].offset = Some(0);
    check(overlap, "inconsistent: ", "overlaps the one before it");
    let past_end = |zip: &mut Forgery| zip.entries[2].offset = Some(1 << 30);
    check(past_end, "inconsistent: ", "belong to no entry");
    let gap = |zip: &mut Forgery| zip.gap = vec![0; 5];
    check(gap, "inconsistent: ", "bytes before the central directory belong to no entry");
    let hidden = |zip: &mut Forgery| {
        let hidden = zip.entries[0].clone();
        zip.entries[0].data.extend(hidden.data);
    };
    check(hidden, "inconsistent: ", "bytes before entry `archive/data/0` belong to no entry");
    let long = |zip: &mut Forgery| {
        zip.entries[2].both(|header| (header.size, header.stored_size) = (1 << 20, 1 << 20));
    };
    check(long, "inconsistent: ", "reaches into the central directory");
    let two_sizes = |zip: &mut Forgery| zip.entries[2].both(|header| header.size += 1);
    check(two_sizes, "inconsistent: ", "has two sizes");
}

#[test]
fn a_file_that_does_not_begin_with_an_entry_is_no_torch_file() {
    let mut polyglot = b"#!/bin/sh\n".to_vec();
    polyglot.extend(Forgery::honest().bytes());
    check_refused(polyglot, "not a torch.save file: ", "`#!/bin/s`");
}

#[test]
fn the_end_records_agree_with_the_file() {
    let misplaced = "does not lie where the end record says";
    check(|zip| zip.end.1 = 1, "inconsistent: ", misplaced);
    check(|zip| zip.end.2 = 1, "inconsistent: ", misplaced);
    check(|zip| zip.end.2 = u32::MAX, "inconsistent: ", misplaced);
    check(|zip| zip.end.0 = 65_532, "inconsistent: ", "declares 65535 entries");
    check(|zip| zip.end.0 = 1, "inconsistent: ", "declares 4 entries");
    check(|zip| zip.end.0 = u16::MAX, "inconsistent: ", "longer than its entries");
    let hidden_end = Forgery::honest().bytes();
    check(|zip| zip.comment = hidden_end.clone(), "inconsistent: ", misplaced);
    check(|zip| zip.comment = b"hello".to_vec(), "cut short: ", "no zip end record");
    let mut comment_cut_off = Forgery::honest().bytes();
    *comment_cut_off.last_mut().unwrap() = 1;
    check_refused(comment_cut_off, "cut short: ", "no zip end record");
}

#[test]
fn wide_sizes_are_read_from_the_extra_field_and_checked_like_others() {
    let wide = |sizes: &[u64]| {
        let extra: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        let len = u16::try_from(extra.len()).unwrap();
        let extra = [&[1, 0], len.to_le_bytes().as_slice(), &extra].concat();
        move |zip: &mut Forgery| {
            zip.entries[STORAGE].both(|header| {
                (header.size, header.stored_size) = (u32::MAX, u32::MAX);
                header.extra = extra.clone();
            });
        }
    };
    assert!(decode(Forgery::with(wide(&[16, 16]))).is_ok());
    check(wide(&[16]), "inconsistent: ", "entry 1 of the central directory is cut");
    check(wide(&[]), "inconsistent: ", "entry 1 of the central directory is cut");
    check(wide(&[u64::MAX, u64::MAX]), "inconsistent: ", "reaches into the central directory");
    check(wide(&[1 << 40, 1 << 40]), "inconsistent: ", "reaches into the central directory");
}

#[test]
fn only_little_endian_files_of_known_versions_are_read() {
    let with = |name: &str, data: &[u8]| {
        let entries = [
            ("data.pkl".to_owned(), pickle()),
            ("data/0".to_owned(), vec![7; 16]),
            (name.to_owned(), data.to_vec()),
        ];
        let entries: Vec<_> = entries.iter().map(|(name, data)| (name.clone(), data.as_slice())).collect();
        archive_of(&entries)
    };
    assert!(decode(with("byteorder", b"little")).is_ok());
    for order in [b"big".as_slice(), b"", b"little\n", b"\xff"] {
        check_refused(with("byteorder", order), "unsupported: ", "byte order");
    }
    assert!(decode(with("version", b"3\n")).is_ok());
    for version in [b"0\n".as_slice(), b"11\n", b"", b"three", b"99999999999999999999"] {
        check_refused(with("version", version), "unsupported: ", "container version");
    }
    check_refused(with("constants.pkl", b""), "unsupported: ", "TorchScript");
    check_refused(with("code/x.py", b""), "unsupported: ", "TorchScript");
}
