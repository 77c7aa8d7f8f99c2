//! Archives whose headers lie, and archives that are not what torch writes.

use super::forge::{Entry, Forgery, archive_of};
use super::{Case, Expected, Kind, Refusal, read, refused};
use Refusal::{Checksum, Inconsistent, NotThisFormat, Refused, Truncated, Unsupported};

/// Place of the entry that holds the tensor's bytes.
const STORAGE: usize = 1;

pub(super) fn cases() -> Vec<Case> {
    [methods_and_flags(), names(), contradictions(), checksums(), places(), ends(), contents(), strangers()]
        .concat()
}

/// The good file after a change.
fn pt(name: &str, change: impl FnOnce(&mut Forgery), refusal: Refusal, says: &str) -> Case {
    refused(Kind::Pt, name, Forgery::with(change), refusal, says)
}

fn methods_and_flags() -> Vec<Case> {
    let bomb = |zip: &mut Forgery| {
        zip.entries[STORAGE].both(|header| (header.method, header.size) = (8, 268_435_456));
    };
    let link = |zip: &mut Forgery| {
        zip.entries[STORAGE].central.made_by = 3 << 8;
        zip.entries[STORAGE].central.attributes = 0o120_777 << 16;
    };
    let mut cases = vec![
        pt("deflate_bomb", bomb, Unsupported, "entry `archive/data/0` is compressed (method 8)"),
        pt(
            "deflate_of_the_pickle",
            |zip| zip.entries[0].both(|header| header.method = 8),
            Unsupported,
            "entry `archive/data.pkl` is compressed (method 8)",
        ),
        pt(
            "encrypted",
            |zip| zip.entries[STORAGE].both(|header| header.flags = 1),
            Unsupported,
            "entry `archive/data/0` is encrypted",
        ),
        pt(
            "encrypted_in_the_local_header_alone",
            |zip| zip.entries[STORAGE].local.flags = 1,
            Inconsistent,
            "contradicts the central directory",
        ),
        pt("link_entry", link, Refused, "entry `archive/data/0` is a symbolic link"),
    ];
    for flags in [1 << 5, 1 << 6, 1 << 13] {
        let change = |zip: &mut Forgery| zip.entries[STORAGE].both(|header| header.flags = flags);
        cases.push(pt(&format!("flags_{flags:#x}"), change, Unsupported, "has the zip flags"));
    }
    cases
}

fn names() -> Vec<Case> {
    let renamed = |name: &[u8]| {
        let name = name.to_vec();
        move |zip: &mut Forgery| zip.entries[STORAGE].both(|header| header.name.clone_from(&name))
    };
    let mut cases = Vec::new();
    for (what, name) in [
        ("up_and_out", b"archive/../x".as_slice()),
        ("up_at_the_start", b"../x"),
        ("absolute", b"/abs/x"),
        ("empty_part", b"archive//x"),
        ("dot", b"archive/./x"),
        ("folder", b"archive/x/"),
        ("of_windows", b"C:\\x\\y"),
        ("nul", b"archive/a\0b"),
        ("not_utf8", b"archive/\xff"),
    ] {
        cases.push(pt(&format!("name_{what}"), renamed(name), Refused, "an entry is named"));
    }
    let long = "x".repeat(65_000);
    cases.push(pt("name_of_64_kib", renamed(long.as_bytes()), Inconsistent, "lies in no folder"));
    let long = format!("archive/{long}");
    cases.push(pt("name_of_64_kib_in_the_folder", renamed(long.as_bytes()), Inconsistent, "the file lacks"));
    let pickle = Forgery::honest().entries[0].data.clone();
    cases.push(pt(
        "two_folders",
        move |zip| zip.entries.push(Entry::honest("other/data.pkl", &pickle)),
        Inconsistent,
        "entry `other/data.pkl` lies outside the folder of the others",
    ));
    cases.push(pt(
        "two_entries_of_one_name",
        |zip| zip.entries.push(Entry::honest("archive/data/0", &[8; 16])),
        Inconsistent,
        "there are two entries `archive/data/0`",
    ));
    cases
}

fn contradictions() -> Vec<Case> {
    type Lie = fn(&mut Entry);
    let lies: [(&str, Lie); 7] = [
        ("name", |entry| entry.local.name = b"archive/data/9".to_vec()),
        ("size", |entry| entry.local.size = 15),
        ("stored_size", |entry| entry.local.stored_size = 0),
        ("method", |entry| entry.local.method = 8),
        ("crc", |entry| entry.local.crc ^= 1),
        ("no_crc", |entry| entry.local.crc = 0),
        ("flags", |entry| entry.local.flags = 1 << 11),
    ];
    let mut cases: Vec<Case> = lies
        .into_iter()
        .map(|(what, lie)| {
            let says = "the local header of entry `archive/data/0` contradicts the central directory";
            pt(&format!("two_headers_{what}"), |zip| lie(&mut zip.entries[STORAGE]), Inconsistent, says)
        })
        .collect();
    let crc = crc32fast::hash(&[7; 16]);
    let deferred = |descriptor: [u32; 3]| {
        move |zip: &mut Forgery| {
            let entry = &mut zip.entries[STORAGE];
            entry.both(|header| header.flags = 1 << 3);
            (entry.local.crc, entry.local.size, entry.local.stored_size) = (0, 0, 0);
            entry.descriptor = [b"PK\x07\x08".to_vec(), descriptor.map(u32::to_le_bytes).concat()].concat();
        }
    };
    cases.push(read(Kind::Pt, "sizes_behind_the_data", Forgery::with(deferred([crc, 16, 16]))));
    for (what, lie) in [
        ("crc", [crc ^ 1, 16, 16]),
        ("stored", [crc, 15, 16]),
        ("size", [crc, 16, 17]),
        ("no_crc", [0, 16, 16]),
    ] {
        let says = "the record behind entry `archive/data/0` contradicts the central directory";
        cases.push(pt(&format!("descriptor_{what}"), deferred(lie), Inconsistent, says));
    }
    let wide = |sizes: &[u64]| {
        let extra: Vec<u8> = sizes.iter().flat_map(|size| size.to_le_bytes()).collect();
        let extra = [&[1, 0], (extra.len() as u16).to_le_bytes().as_slice(), &extra].concat();
        move |zip: &mut Forgery| {
            zip.entries[STORAGE].both(|header| {
                (header.size, header.stored_size) = (u32::MAX, u32::MAX);
                header.extra.clone_from(&extra);
            });
        }
    };
    let cut = "entry 1 of the central directory is cut";
    let past = "entry `archive/data/0` reaches into the central directory";
    cases.push(read(Kind::Pt, "zip64_extra", Forgery::with(wide(&[16, 16]))));
    cases.push(pt("zip64_extra_of_one_size", wide(&[16]), Inconsistent, cut));
    cases.push(pt("zip64_extra_of_nothing", wide(&[]), Inconsistent, cut));
    cases.push(pt("zip64_extra_of_2_64", wide(&[u64::MAX, u64::MAX]), Inconsistent, past));
    cases.push(pt("zip64_extra_of_2_40", wide(&[1 << 40, 1 << 40]), Inconsistent, past));
    cases
}

fn checksums() -> Vec<Case> {
    let damaged = |zip: &mut Forgery| zip.entries[STORAGE].data[3] ^= 4;
    let not_computed = Forgery::with(|zip| {
        zip.entries[STORAGE].data[3] ^= 4;
        zip.entries[STORAGE].both(|header| header.crc = 0);
    });
    vec![
        pt("crc_wrong", damaged, Checksum, "checksum of `data/0`"),
        pt("crc_of_the_pickle_wrong", |zip| zip.entries[0].both(|h| h.crc ^= 1), Checksum, "of `data.pkl`"),
        Case {
            name: "crc_0".to_owned(),
            kind: Kind::Pt,
            bytes: not_computed,
            expected: Expected::Noted("not checked: whoever wrote `data/0` left out the checksum".to_owned()),
        },
    ]
}

fn places() -> Vec<Case> {
    let quoted = |zip: &mut Forgery| {
        let hidden = Forgery { entries: vec![zip.entries[STORAGE].clone()], ..zip.clone() }.bytes();
        let at = 30 + zip.entries[0].local.name.len() + zip.entries[0].data.len();
        zip.entries[0].data.extend(&hidden[..30 + 14 + 16]);
        let data = zip.entries[0].data.clone();
        zip.entries[0].both(|header| {
            header.crc = crc32fast::hash(&data);
            (header.size, header.stored_size) = (data.len() as u32, data.len() as u32);
        });
        zip.entries[STORAGE].offset = Some(at as u32);
    };
    let hidden = |zip: &mut Forgery| {
        let hidden = zip.entries[0].clone();
        zip.entries[0].data.extend(hidden.data);
    };
    let long = |zip: &mut Forgery| {
        zip.entries[2].both(|header| (header.size, header.stored_size) = (1 << 20, 1 << 20));
    };
    let belong = "belong to no entry";
    vec![
        pt("overlap_quoted", quoted, Inconsistent, "overlaps the one before it"),
        pt(
            "overlap_whole",
            |zip| zip.entries[2].offset = Some(0),
            Inconsistent,
            "overlaps the one before it",
        ),
        pt("offset_past_the_end", |zip| zip.entries[2].offset = Some(1 << 30), Inconsistent, belong),
        pt("gap_before_the_directory", |zip| zip.gap = vec![0; 5], Inconsistent, belong),
        pt(
            "data_of_no_entry",
            hidden,
            Inconsistent,
            "bytes before entry `archive/data/0` belong to no entry",
        ),
        pt("entry_into_the_directory", long, Inconsistent, "reaches into the central directory"),
        pt("two_sizes", |zip| zip.entries[2].both(|h| h.size += 1), Inconsistent, "has two sizes"),
    ]
}

fn ends() -> Vec<Case> {
    let misplaced = "does not lie where the end record says";
    let hidden = Forgery::honest().bytes();
    let mut cut = Forgery::honest().bytes();
    cut.truncate(cut.len() - 1);
    let mut comment_cut = Forgery::honest().bytes();
    comment_cut.splice(comment_cut.len() - 2.., [1, 0]);
    vec![
        pt("directory_size_lies", |zip| zip.end.1 = 1, Inconsistent, misplaced),
        pt("directory_offset_lies", |zip| zip.end.2 = 1, Inconsistent, misplaced),
        pt("directory_offset_before_the_file", |zip| zip.end.2 = u32::MAX, Inconsistent, misplaced),
        pt("entries_65535", |zip| zip.end.0 = 65_532, Inconsistent, "declares 65535 entries"),
        pt("entries_one_more", |zip| zip.end.0 = 1, Inconsistent, "declares 4 entries"),
        pt("entries_one_less", |zip| zip.end.0 = u16::MAX, Inconsistent, "longer than its entries"),
        pt(
            "entries_2_32",
            |zip| (zip.end.0, zip.zip64_entries) = (65_532, Some(1 << 32)),
            Inconsistent,
            "declares 4294967296 entries",
        ),
        pt(
            "entries_of_two_records",
            |zip| zip.zip64_entries = Some(4),
            Inconsistent,
            "the two end records contradict each other",
        ),
        pt("second_end_in_the_comment", |zip| zip.comment = hidden, Inconsistent, misplaced),
        pt("comment", |zip| zip.comment = b"hello".to_vec(), Truncated, "no zip end record"),
        refused(Kind::Pt, "cut_by_a_byte", cut, Truncated, "no zip end record"),
        refused(Kind::Pt, "comment_cut_off", comment_cut, Truncated, "no zip end record"),
    ]
}

fn contents() -> Vec<Case> {
    let pickle = Forgery::honest().entries[0].data.clone();
    let with = |name: &str, data: &[u8]| {
        let entries = [("data.pkl", pickle.as_slice()), ("data/0", &[7; 16]), (name, data)];
        archive_of(&entries.map(|(name, data)| (name.to_owned(), data)))
    };
    let mut cases = vec![read(Kind::Pt, "byteorder_missing", with("version", b"3\n"))];
    for (what, order) in
        [("big", b"big".as_slice()), ("empty", b""), ("garbage", b"\xff"), ("newline", b"little\n")]
    {
        let name = format!("byteorder_{what}");
        cases.push(refused(Kind::Pt, &name, with("byteorder", order), Unsupported, "byte order"));
    }
    for version in ["0\n", "11\n", "", "three", "99999999999999999999"] {
        let name = format!("version_{}", version.trim());
        let file = with("version", version.as_bytes());
        cases.push(refused(Kind::Pt, &name, file, Unsupported, "container version"));
    }
    for name in ["constants.pkl", "code/x.py"] {
        let file = with(name, b"");
        cases.push(refused(
            Kind::Pt,
            &format!("torchscript_{name}"),
            file,
            Unsupported,
            "a TorchScript program",
        ));
    }
    let without = |left_out: usize| Forgery::with(|zip| drop(zip.entries.remove(left_out)));
    cases.push(refused(Kind::Pt, "no_pickle", without(0), Truncated, "there is no data.pkl"));
    cases.push(refused(
        Kind::Pt,
        "no_storage",
        without(1),
        Inconsistent,
        "storage `0`, which the file lacks",
    ));
    let empty = Forgery { entries: Vec::new(), ..Forgery::honest() }.bytes();
    cases.push(refused(Kind::Pt, "no_entries", empty, NotThisFormat, "it begins with"));
    let unaligned = Forgery::with(|zip| {
        // Five bytes more: the float32 begin at an odd place.
        zip.entries[0].local.extra = vec![b'Z', b'Z', 1, 0, 0];
    });
    cases.push(read(Kind::Pt, "storage_unaligned", unaligned));
    cases
}

fn strangers() -> Vec<Case> {
    let polyglot = [b"#!/bin/sh\ntouch pwned\n".to_vec(), Forgery::honest().bytes()].concat();
    let legacy = [b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice(), b"\x80\x02M\xe9\x03."].concat();
    let mut tar = vec![0; 1024];
    tar[..6].copy_from_slice(b"pickle");
    tar[257..262].copy_from_slice(b"ustar");
    vec![
        refused(Kind::Pt, "empty_file", Vec::new(), Truncated, "the file is empty"),
        refused(Kind::Pt, "data_before_the_first_header", polyglot, NotThisFormat, "`#!/bin/s`"),
        refused(Kind::Pt, "legacy_file", legacy, Unsupported, "the layout of torch before 1.6"),
        refused(Kind::Pt, "tar_file", tar, Unsupported, "the tar layout"),
        refused(Kind::Pt, "bare_pickle", b"\x80\x02cos\nsystem\n.".to_vec(), NotThisFormat, "it begins with"),
        refused(Kind::Pt, "one_byte", b"P".to_vec(), NotThisFormat, "it begins with `P`"),
    ]
}
