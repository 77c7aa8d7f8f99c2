//! Making files that no honest program would make: pickles by hand, archives in which everything can be a lie.

pub mod pickle;
mod zip;

pub use zip::{Entry, Forgery, Header};

/// Packs a pickle and its storages as torch versions before 2.1 did: a folder named `archive`, sizes in the local
/// headers, no alignment, no zip64 records.
pub fn archive(pickle: &[u8], storages: &[&[u8]]) -> Vec<u8> {
    let mut entries = vec![("data.pkl".to_owned(), pickle), ("version".to_owned(), b"3\n")];
    for (number, storage) in storages.iter().enumerate() {
        entries.push((format!("data/{number}"), storage));
    }
    archive_of(&entries)
}

/// Packs stored entries in the folder `archive`.
pub fn archive_of(entries: &[(String, &[u8])]) -> Vec<u8> {
    let entries = entries.iter().map(|(name, data)| Entry::honest(&format!("archive/{name}"), data));
    Forgery { entries: entries.collect(), ..Forgery::honest() }.bytes()
}

/// Puts a header of safetensors in front of data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}
