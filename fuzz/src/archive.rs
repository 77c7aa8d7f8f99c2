//! Zip archives as torch's older versions wrote them, and such in which every field can be a lie.

use crate::choices::Choices;

/// Names of entries: torch's own, and what an archive from elsewhere may have.
const NAMES: [&[u8]; 15] = [
    b"archive/data/0",
    b"archive/data/1",
    b"archive/version",
    b"archive/byteorder",
    b"archive/.format_version",
    b"archive/.data/serialization_id",
    b"archive/data.pkl",
    b"archive/code/x.py",
    b"archive/constants.pkl",
    b"other/data/0",
    b"archive/../x",
    b"/etc/passwd",
    b"archive/a\\b",
    b"archive",
    b"archive/\xff\0",
];

/// Writes an archive in which everything is true.
pub(crate) fn honest(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let mut entries = vec![(b"archive/data.pkl".to_vec(), pickle.to_vec())];
    for (number, storage) in storages.iter().enumerate() {
        entries.push((format!("archive/data/{number}").into_bytes(), storage.to_vec()));
    }
    entries.push((b"archive/version".to_vec(), b"3\n".to_vec()));
    write(&entries, &mut Choices::of(&[]))
}

/// Writes an archive of one pickle and some storages in which few things are lies.
pub(crate) fn forged(pickle: &[u8], choices: &mut Choices<'_>) -> Vec<u8> {
    let mut entries = vec![(b"archive/data.pkl".to_vec(), pickle.to_vec())];
    for _ in 0..choices.byte() % 5 {
        let name = if choices.rarely(16) { choices.bytes(80) } else { choices.one_of(&NAMES) };
        let data = match choices.byte() % 4 {
            0 => vec![7; 16],
            1 => b"3\n".to_vec(),
            2 => b"little".to_vec(),
            _ => choices.bytes(64).to_vec(),
        };
        entries.push((name.to_vec(), data));
    }
    write(&entries, choices)
}

/// Header fields of one entry, as far as both headers have them.
struct Fields {
    flags: u16,
    method: u16,
    crc: u32,
    sizes: [u32; 2],
    extra: Vec<u8>,
}

fn write(entries: &[(Vec<u8>, Vec<u8>)], choices: &mut Choices<'_>) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let mut fields =
            Fields { flags: 0, method: 0, crc: crc32fast::hash(data), sizes: [len; 2], extra: Vec::new() };
        let deferred = choices.rarely(48);
        if deferred {
            fields.flags = 8;
        }
        if choices.rarely(16) {
            fields.crc = 0;
        }
        // A lie that both headers tell.
        fields.twist(choices, 12);
        let offset = number(choices, 6, u32::try_from(file.len()).unwrap_or(u32::MAX));

        file.extend(b"PK\x03\x04\x14\x00");
        let crc = fields.crc;
        fields.twist(choices, 6);
        fields.put(name, &mut file);
        file.extend(name);
        file.extend(&fields.extra);
        file.extend(data);
        if deferred {
            file.extend(b"PK\x07\x08");
            file.extend(
                [crc, number(choices, 6, len), number(choices, 6, len)].map(u32::to_le_bytes).concat(),
            );
        }

        directory.extend(b"PK\x01\x02");
        let is_link = choices.rarely(4);
        directory.extend(if is_link { [0x14, 3] } else { [0x14, 0] });
        directory.extend(b"\x14\x00");
        fields.twist(choices, 6);
        fields.put(name, &mut directory);
        directory.extend([0; 6]);
        directory.extend(if is_link { [0, 0, 0, 0xa0] } else { [0; 4] });
        directory.extend(offset.to_le_bytes());
        directory.extend(name);
        directory.extend(&fields.extra);
    }
    if choices.rarely(6) {
        file.extend(choices.bytes(32));
    }
    end(file, &directory, entries.len(), choices)
}

/// Puts the directory and the records behind it.
fn end(mut file: Vec<u8>, directory: &[u8], entries: usize, choices: &mut Choices<'_>) -> Vec<u8> {
    let offset = file.len() as u64;
    let (entries, size) = (entries as u64, directory.len() as u64);
    file.extend(directory);
    let record_at = file.len() as u64;
    if choices.rarely(48) {
        file.extend(b"PK\x06\x06");
        file.extend(wide(choices, 44).to_le_bytes());
        file.extend([0; 12]);
        for value in [entries, entries, size, offset] {
            file.extend(wide(choices, value).to_le_bytes());
        }
        file.extend(b"PK\x06\x07\x00\x00\x00\x00");
        file.extend(wide(choices, record_at).to_le_bytes());
        file.extend(1u32.to_le_bytes());
    }
    file.extend(b"PK\x05\x06\x00\x00\x00\x00");
    let narrow = |choices: &mut Choices<'_>, value| number(choices, 8, value);
    for _ in 0..2 {
        file.extend((narrow(choices, entries as u32) as u16).to_le_bytes());
    }
    file.extend(narrow(choices, size as u32).to_le_bytes());
    file.extend(narrow(choices, offset as u32).to_le_bytes());
    let comment = if choices.rarely(4) { choices.bytes(40) } else { b"" };
    file.extend((comment.len() as u16).to_le_bytes());
    file.extend(comment);
    if choices.rarely(4) {
        file.truncate(choices.number() as usize % (file.len() + 1));
    }
    file
}

impl Fields {
    /// Tells a lie with a chance of `one` in 256.
    fn twist(&mut self, choices: &mut Choices<'_>, one: u8) {
        if !choices.rarely(one) {
            return;
        }
        let value = choices.number();
        match choices.byte() % 7 {
            0 => self.flags = value as u16,
            1 => self.method = value as u16,
            2 => self.crc = value as u32,
            3 => self.sizes[0] = value as u32,
            4 => self.sizes[1] = value as u32,
            5 => self.sizes = [value as u32; 2],
            // The sizes, and maybe the place, as 64-bit numbers.
            _ => {
                let wide = [u64::from(self.sizes[1]), value, choices.number()];
                self.extra = [&[1, 0, 24, 0], wide.map(u64::to_le_bytes).as_flattened()].concat();
                self.sizes = [u32::MAX; 2];
            }
        }
    }

    fn put(&self, name: &[u8], out: &mut Vec<u8>) {
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.crc.to_le_bytes());
        out.extend(self.sizes.map(u32::to_le_bytes).as_flattened());
        out.extend((name.len() as u16).to_le_bytes());
        out.extend((self.extra.len() as u16).to_le_bytes());
    }
}

fn number(choices: &mut Choices<'_>, one: u8, honest: u32) -> u32 {
    if choices.rarely(one) { choices.number() as u32 } else { honest }
}

fn wide(choices: &mut Choices<'_>, honest: u64) -> u64 {
    if choices.rarely(8) { choices.number() } else { honest }
}
