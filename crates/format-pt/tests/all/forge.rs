//! Making files that torch would never make: pickles by hand, archives in which everything can be a lie.

use std::io::{Cursor, Write};
use std::time::{Duration, Instant};

use callbox_core::{Bytes, FormatError, TensorMap, TensorSerializer};
use callbox_format_pt::PtSerializer;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Decodes a file; whatever is in it, that is done in a moment.
#[expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
pub(crate) fn decode(file: Vec<u8>) -> Result<TensorMap, FormatError> {
    let start = Instant::now();
    let result = PtSerializer.decode(Bytes::from(file));
    // A hundredth of it is the rule; the rest is for a busy machine.
    assert!(start.elapsed() < Duration::from_secs(1), "took {:?}", start.elapsed());
    result
}

/// Checks that a file is refused, with a message that begins with `kind` and holds `reason`.
#[track_caller]
pub(crate) fn check_refused(file: Vec<u8>, kind: &str, reason: &str) {
    let error = decode(file).expect_err("the file must be refused");
    let message = match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    assert!(message.starts_with(kind), "not {kind}: {message}");
    assert!(message.contains(reason), "nothing of `{reason}`: {message}");
}

/// Writes a file as an ordinary zip program would, with the layout of older torch versions: a folder named
/// `archive`, sizes in the local headers, no alignment, no zip64 records.
pub(crate) fn archive(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let mut entries = vec![("data.pkl".to_owned(), pickle), ("version".to_owned(), b"3\n")];
    for (number, storage) in storages.iter().enumerate() {
        entries.push((format!("data/{number}"), storage));
    }
    archive_of(&entries)
}

/// Writes an ordinary zip archive of stored entries in the folder `archive`.
pub(crate) fn archive_of(entries: &[(String, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, data) in entries {
        zip.start_file(format!("archive/{name}"), stored).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Pickled values, each as the instructions that leave it on the stack.
pub(crate) mod value {
    pub(crate) fn int(value: i64) -> Vec<u8> {
        [&[0x8a, 8], value.to_le_bytes().as_slice()].concat()
    }

    pub(crate) fn text(text: &str) -> Vec<u8> {
        let len = u32::try_from(text.len()).unwrap();
        [b"X", len.to_le_bytes().as_slice(), text.as_bytes()].concat()
    }

    pub(crate) fn name(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(", items.concat().as_slice(), b"t"].concat()
    }

    pub(crate) fn ints(values: &[i64]) -> Vec<u8> {
        tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
    }

    pub(crate) fn call(function: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
        [function, tuple(arguments), b"R".to_vec()].concat()
    }

    pub(crate) fn yes_or_no(value: bool) -> Vec<u8> {
        vec![if value { 0x88 } else { 0x89 }]
    }

    pub(crate) fn ordered_dict() -> Vec<u8> {
        call(name("collections", "OrderedDict"), &[])
    }

    pub(crate) fn storage(class: &str, entry: &str, count: i64) -> Vec<u8> {
        let id = [text("storage"), name("torch", class), text(entry), text("cpu"), int(count)];
        [tuple(&id), b"Q".to_vec()].concat()
    }

    pub(crate) fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
        let arguments = [storage, int(offset), ints(size), ints(stride), yes_or_no(false), ordered_dict()];
        call(name("torch._utils", "_rebuild_tensor_v2"), &arguments)
    }

    /// A whole pickle of a dict.
    pub(crate) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let items: Vec<_> = entries.iter().flat_map(|(key, value)| [text(key), value.clone()]).collect();
        program(&[b"}(".as_slice(), &items.concat(), b"u"].concat())
    }

    /// A whole pickle of the value that the instructions leave.
    pub(crate) fn program(instructions: &[u8]) -> Vec<u8> {
        [b"\x80\x02", instructions, b"."].concat()
    }
}

/// A zip archive whose headers can say anything.
#[derive(Clone)]
pub(crate) struct Forgery {
    pub(crate) entries: Vec<Entry>,
    /// Bytes between the last entry and the central directory.
    pub(crate) gap: Vec<u8>,
    /// Added to what the end record says of the number of entries, the directory's size and its offset.
    pub(crate) end: (u16, u32, u32),
    pub(crate) comment: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) data: Vec<u8>,
    pub(crate) local: Header,
    pub(crate) central: Header,
    /// Where the central directory says that the local header is; `None` for the truth.
    pub(crate) offset: Option<u32>,
    /// Behind the data.
    pub(crate) descriptor: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) name: Vec<u8>,
    pub(crate) made_by: u16,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    pub(crate) crc: u32,
    pub(crate) stored_size: u32,
    pub(crate) size: u32,
    pub(crate) attributes: u32,
    pub(crate) extra: Vec<u8>,
}

impl Entry {
    pub(crate) fn honest(name: &str, data: &[u8]) -> Entry {
        let header = Header {
            name: name.as_bytes().to_vec(),
            made_by: 0,
            flags: 0,
            method: 0,
            crc: crc32fast::hash(data),
            stored_size: u32::try_from(data.len()).unwrap(),
            size: u32::try_from(data.len()).unwrap(),
            attributes: 0,
            extra: Vec::new(),
        };
        Entry {
            data: data.to_vec(),
            local: header.clone(),
            central: header,
            offset: None,
            descriptor: Vec::new(),
        }
    }

    /// Changes both headers.
    pub(crate) fn both(&mut self, change: impl Fn(&mut Header)) {
        change(&mut self.local);
        change(&mut self.central);
    }
}

impl Forgery {
    /// Starts from a good file of one tensor of four float32.
    pub(crate) fn honest() -> Forgery {
        let tensor = value::tensor(value::storage("FloatStorage", "0", 4), 0, &[4], &[1]);
        let pickle = value::dict(&[("a", tensor)]);
        Forgery {
            entries: vec![
                Entry::honest("archive/data.pkl", &pickle),
                Entry::honest("archive/data/0", &[7; 16]),
                Entry::honest("archive/version", b"3\n"),
            ],
            gap: Vec::new(),
            end: (0, 0, 0),
            comment: Vec::new(),
        }
    }

    pub(crate) fn with(change: impl FnOnce(&mut Forgery)) -> Vec<u8> {
        let mut forgery = Forgery::honest();
        change(&mut forgery);
        forgery.bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = entry.offset.unwrap_or(u32::try_from(file.len()).unwrap());
            file.extend(b"PK\x03\x04\x14\x00");
            entry.local.put(&mut file);
            put_u16(&mut file, entry.local.name.len());
            put_u16(&mut file, entry.local.extra.len());
            file.extend(&entry.local.name);
            file.extend(&entry.local.extra);
            file.extend(&entry.data);
            file.extend(&entry.descriptor);

            directory.extend(b"PK\x01\x02");
            directory.extend(entry.central.made_by.to_le_bytes());
            directory.extend(b"\x14\x00");
            entry.central.put(&mut directory);
            put_u16(&mut directory, entry.central.name.len());
            put_u16(&mut directory, entry.central.extra.len());
            directory.extend([0; 6]);
            directory.extend(entry.central.attributes.to_le_bytes());
            directory.extend(offset.to_le_bytes());
            directory.extend(&entry.central.name);
            directory.extend(&entry.central.extra);
        }
        file.extend(&self.gap);
        let (entries, size, offset) = self.end;
        let entries = entries.wrapping_add(u16::try_from(self.entries.len()).unwrap());
        let size = size.wrapping_add(u32::try_from(directory.len()).unwrap());
        let offset = offset.wrapping_add(u32::try_from(file.len()).unwrap());
        file.extend(directory);
        file.extend(b"PK\x05\x06\x00\x00\x00\x00");
        file.extend([entries.to_le_bytes(); 2].concat());
        file.extend(size.to_le_bytes());
        file.extend(offset.to_le_bytes());
        put_u16(&mut file, self.comment.len());
        file.extend(&self.comment);
        file
    }
}

impl Header {
    /// Puts the fields that both headers have in this order.
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.crc.to_le_bytes());
        out.extend(self.stored_size.to_le_bytes());
        out.extend(self.size.to_le_bytes());
    }
}

fn put_u16(out: &mut Vec<u8>, len: usize) {
    out.extend(u16::try_from(len).unwrap().to_le_bytes());
}
