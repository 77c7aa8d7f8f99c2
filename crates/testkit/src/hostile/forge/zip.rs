//! A zip archive whose headers can say anything.

use super::pickle;

/// The archive.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the fields of the zip format")]
pub struct Forgery {
    /// In the order of the file and of the central directory.
    pub entries: Vec<Entry>,
    /// Bytes between the last entry and the central directory.
    pub gap: Vec<u8>,
    /// Added to what the end record says of the number of entries, the directory's size and its offset.
    pub end: (u16, u32, u32),
    /// What a zip64 end record in front of the other one says of the number of entries; none without a number.
    pub zip64_entries: Option<u64>,
    pub comment: Vec<u8>,
}

/// One entry.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the parts of the zip format")]
pub struct Entry {
    pub data: Vec<u8>,
    pub local: Header,
    pub central: Header,
    /// Where the central directory says that the local header is; `None` for the truth.
    pub offset: Option<u32>,
    /// Behind the data.
    pub descriptor: Vec<u8>,
}

/// What both headers of an entry say.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named after the fields of the zip format")]
pub struct Header {
    pub name: Vec<u8>,
    pub made_by: u16,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub stored_size: u32,
    pub size: u32,
    pub attributes: u32,
    pub extra: Vec<u8>,
}

impl Entry {
    /// An entry of which everything is true.
    pub fn honest(name: &str, data: &[u8]) -> Entry {
        let header = Header {
            name: name.as_bytes().to_vec(),
            made_by: 0,
            flags: 0,
            method: 0,
            crc: crc32fast::hash(data),
            stored_size: data.len() as u32,
            size: data.len() as u32,
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
    pub fn both(&mut self, change: impl Fn(&mut Header)) {
        change(&mut self.local);
        change(&mut self.central);
    }
}

impl Forgery {
    /// A good file of one tensor `a` of four float32: entry 0 is the pickle, entry 1 the storage.
    pub fn honest() -> Forgery {
        let tensor = pickle::tensor(pickle::float_storage(), 0, &[4], &[1]);
        Forgery {
            entries: vec![
                Entry::honest("archive/data.pkl", &pickle::dict(&[("a", tensor)])),
                Entry::honest("archive/data/0", &[7; 16]),
                Entry::honest("archive/version", b"3\n"),
            ],
            gap: Vec::new(),
            end: (0, 0, 0),
            zip64_entries: None,
            comment: Vec::new(),
        }
    }

    /// The good file after a change.
    pub fn with(change: impl FnOnce(&mut Forgery)) -> Vec<u8> {
        let mut forgery = Forgery::honest();
        change(&mut forgery);
        forgery.bytes()
    }

    /// Spells the archive.
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut directory = Vec::new();
        for entry in &self.entries {
            let offset = entry.offset.unwrap_or(file.len() as u32);
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
        self.put_end(file.len(), &directory, &mut file);
        file
    }

    /// Puts the directory, which begins at `start`, and the records behind it.
    fn put_end(&self, start: usize, directory: &[u8], file: &mut Vec<u8>) {
        let (entries, size, offset) = self.end;
        let entries = entries.wrapping_add(self.entries.len() as u16);
        let size = size.wrapping_add(directory.len() as u32);
        let offset = offset.wrapping_add(start as u32);
        file.extend(directory);
        if let Some(wide) = self.zip64_entries {
            let record_at = file.len() as u64;
            file.extend(b"PK\x06\x06");
            file.extend(44u64.to_le_bytes());
            file.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            file.extend([wide.to_le_bytes(); 2].concat());
            file.extend(u64::from(size).to_le_bytes());
            file.extend(u64::from(offset).to_le_bytes());
            file.extend(b"PK\x06\x07\x00\x00\x00\x00");
            file.extend(record_at.to_le_bytes());
            file.extend(1u32.to_le_bytes());
        }
        file.extend(b"PK\x05\x06\x00\x00\x00\x00");
        file.extend([entries.to_le_bytes(); 2].concat());
        file.extend(size.to_le_bytes());
        file.extend(offset.to_le_bytes());
        put_u16(file, self.comment.len());
        file.extend(&self.comment);
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
    out.extend((len as u16).to_le_bytes());
}
