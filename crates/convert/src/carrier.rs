//! One folder of files, a call's or a flush's, on its way into the new session.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callbox_core::error::chain;
use callbox_core::{
    Bytes, FormatError, Group, RecordedFile, SinkError, SourceError, TensorMeta, TensorSerializer,
};
use callbox_sink_fs::{
    Entry, EntryKind, FLUSHES_FOLDER, FileTree, Hashing, METADATA_FILE, NewFolder, NewRecords, RecordsOf,
    Rewriting,
};

use crate::report::{DeviationKind, Report};
use crate::tensors::{Tensors, group, prepared, refusal, views};
use crate::verify::difference;

/// Takes folders from the old session to the new one.
pub(crate) struct Carrier<'a> {
    pub(crate) from: &'a FileTree,
    /// The new session, for reading back.
    pub(crate) written: &'a FileTree,
    pub(crate) to: &'a Arc<dyn TensorSerializer>,
    /// The new session, as records spell it.
    pub(crate) root: &'a Path,
}

/// A folder of the old session, and its place in the new one.
pub(crate) struct Folder<'a> {
    /// Below the old session.
    pub(crate) from: PathBuf,
    /// Below the new session: `CALL`, or `CALL/graph_flushes/flush_0001`.
    pub(crate) place: String,
    pub(crate) details: &'a [(String, TensorMeta)],
    /// The call is known to be damaged: no file is looked at.
    pub(crate) as_it_is: bool,
}

/// What the records say of each folder that changes, by its place.
pub(crate) type Changes = std::collections::HashMap<String, NewRecords>;

/// What becomes of a folder.
enum Fate<'a> {
    /// Its files are copied, its records unchanged.
    AsItIs,
    /// Its records say this `tensor_format`, and these files of tensors are written.
    Converted { record_format: &'static str, files: Vec<TensorFile<'a>> },
}

/// A file of tensors in a format of its own, read.
struct TensorFile<'a> {
    name: &'a str,
    group: Group,
    fate: FileFate,
}

enum FileFate {
    /// It is written in the new format.
    Written(Tensors),
    /// It is in the new format already, and copied.
    Already,
    /// The new format does not hold it: it is copied.
    Kept(String),
}

impl Carrier<'_> {
    /// Takes a folder along, and the folders of its flushes. An error is one of writing.
    pub(crate) fn carry(
        &self,
        folder: &Folder<'_>,
        new: &NewFolder,
        changes: &mut Changes,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        let entries = match self.entries(&folder.from) {
            Ok(entries) => entries,
            Err(error) => {
                report.deviate(DeviationKind::Damaged, &folder.place, chain(&error));
                return Ok(());
            }
        };
        let mut names: Vec<&str> = files(&entries).collect();
        // A file is written under a name with one more dot in front: what has that name for good comes later.
        names.sort_by_key(|name| name.len() - name.trim_start_matches('.').len());
        let fate = self.fate(folder, &names, report);
        let mut written = Vec::new();
        if let Fate::Converted { record_format, files } = &fate {
            let mut records = NewRecords { format: record_format, files: Vec::new() };
            for file in files {
                if let FileFate::Written(tensors) = &file.fate {
                    records.files.push(self.write(folder, new, file, tensors, report)?);
                    written.push(file.name);
                }
            }
            changes.insert(folder.place.clone(), records);
        }
        for name in names.into_iter().filter(|name| !written.contains(name)) {
            match changes.get(&folder.place) {
                Some(records) if name == METADATA_FILE => self.records(folder, new, records, report)?,
                Some(_) | None => self.copy(folder, new, name, report)?,
            }
        }
        self.others(folder, &entries, new, changes, report)
    }

    /// Lists a folder by name.
    fn entries(&self, folder: &Path) -> Result<Vec<Entry>, SourceError> {
        let mut entries = self.from.entries(folder)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Decides what becomes of a folder, before anything of it is written: a file that cannot be read leaves the
    /// whole call as it is.
    fn fate<'a>(&self, folder: &Folder<'_>, names: &[&'a str], report: &mut Report) -> Fate<'a> {
        let place = &folder.place;
        if folder.as_it_is {
            return Fate::AsItIs;
        }
        let mut record_format = self.to.format().name;
        let mut files: Vec<TensorFile<'_>> = Vec::new();
        for name in names {
            let (Some(group), Some(format)) = (group_of(name), self.from.format_of(name)) else { continue };
            if let Some(other) = files.iter().find(|other| other.group == group) {
                let reason =
                    format!("{} and {name} are both there: which one counts is not decided here", other.name);
                report.deviate(DeviationKind::Kept, place, reason);
                return Fate::AsItIs;
            }
            match self.file_fate(folder, name, format) {
                Ok(fate) => {
                    if matches!(fate, FileFate::Kept(_)) && group == Group::Inputs {
                        record_format = format.format().name;
                    }
                    files.push(TensorFile { name, group, fate });
                }
                Err(error) => {
                    report.deviate(DeviationKind::Damaged, place, chain(&error));
                    return Fate::AsItIs;
                }
            }
        }
        for file in &files {
            match &file.fate {
                FileFate::Written(_) => {}
                FileFate::Already => report.totals.already += 1,
                FileFate::Kept(reason) => {
                    report.deviate(DeviationKind::Kept, format!("{place}/{}", file.name), reason);
                }
            }
        }
        Fate::Converted { record_format, files }
    }

    fn file_fate(
        &self,
        folder: &Folder<'_>,
        name: &str,
        format: &dyn TensorSerializer,
    ) -> Result<FileFate, SourceError> {
        let read = self.from.tensors(&folder.from.join(name))?.unwrap_or_default();
        let to = self.to.format();
        if format.format() == to {
            return Ok(FileFate::Already);
        }
        let tensors = match prepared(&read, format.format(), to, folder.details) {
            Ok(tensors) => tensors,
            Err(reason) => return Ok(FileFate::Kept(reason)),
        };
        let plan = self.to.plan(&group(stem(name), &tensors));
        Ok(match plan {
            Ok(_) => FileFate::Written(tensors),
            Err(error) => FileFate::Kept(refusal(&error, to)),
        })
    }

    fn write(
        &self,
        folder: &Folder<'_>,
        new: &NewFolder,
        file: &TensorFile<'_>,
        tensors: &Tensors,
        report: &mut Report,
    ) -> Result<RecordedFile, SinkError> {
        let format = self.to.format();
        let name = file.group.file_name(format);
        let group = group(file.group.stem(), tensors);
        let plan = self.to.plan(&group)?;
        let encode = &mut |out: &mut dyn Write| self.to.encode(&group, out);
        let (bytes, hash) = new.put(&name, Some(plan.bytes), Hashing::Xxh3, encode)?;
        report.totals.converted += 1;
        report.totals.bytes_before += self.size(&folder.from.join(file.name));
        report.totals.bytes_after += bytes;
        if !format.keeps_layout {
            report.totals.layouts_lost += views(tensors);
        }
        let place = format!("{}/{name}", folder.place);
        let different = match self.written.tensors(Path::new(&place)) {
            Ok(Some(read)) => difference(tensors, &read, format.keeps_layout),
            Ok(None) => Some("it is gone".to_owned()),
            Err(error) => Some(chain(&error)),
        };
        if let Some(reason) = different {
            report.deviate(DeviationKind::Differs, place, reason);
        }
        Ok(RecordedFile { name, bytes, hash, is_unstable: false })
    }

    fn size(&self, path: &Path) -> u64 {
        let file = self.from.file(path).ok().flatten();
        file.and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.len())
    }

    fn copy(
        &self,
        folder: &Folder<'_>,
        new: &NewFolder,
        name: &str,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        let place = format!("{}/{name}", folder.place);
        let bytes = match self.from.bytes(&folder.from.join(name)) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(error) => {
                report.deviate(DeviationKind::LeftOut, place, chain(&error));
                return Ok(());
            }
        };
        let (len, _) = new.put(name, Some(bytes.len() as u64), Hashing::Off, &mut |out| {
            out.write_all(&bytes).map_err(FormatError::Write)
        })?;
        report.totals.copied += 1;
        report.totals.bytes_before += len;
        report.totals.bytes_after += len;
        if let Some(reason) = self.copy_difference(&place, &bytes) {
            report.deviate(DeviationKind::Differs, place, reason);
        }
        Ok(())
    }

    fn copy_difference(&self, place: &str, expected: &Bytes) -> Option<String> {
        match self.written.bytes(Path::new(place)) {
            Ok(Some(found)) if found == expected => None,
            Ok(_) => Some("other bytes than were written".to_owned()),
            Err(error) => Some(chain(&error)),
        }
    }

    /// Rewrites a folder's own records.
    fn records(
        &self,
        folder: &Folder<'_>,
        new: &NewFolder,
        records: &NewRecords,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        let place = format!("{}/{METADATA_FILE}", folder.place);
        self.rewrite(&folder.from.join(METADATA_FILE), &place, new, &|_| Some(records), report)
    }

    /// Rewrites a file of records under the last part of its `place`.
    pub(crate) fn rewrite<'r>(
        &self,
        from: &Path,
        place: &str,
        new: &NewFolder,
        records_of: &'r RecordsOf<'r>,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        let file = match self.from.file(from) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(()),
            Err(error) => {
                report.deviate(DeviationKind::LeftOut, place, chain(&error));
                return Ok(());
            }
        };
        let rewriting = Rewriting::new(self.root, records_of);
        let name = place.rsplit('/').next().unwrap_or(place);
        let mut rewritten = None;
        let (bytes, _) = new.put(name, None, Hashing::Off, &mut |out| {
            rewritten = Some(rewriting.copy(place, &file, out).map_err(FormatError::Write)?);
            Ok(())
        })?;
        let rewritten = rewritten.unwrap_or_default();
        report.totals.records += rewritten.records;
        report.totals.bytes_before += self.size(from);
        report.totals.bytes_after += bytes;
        for loss in rewritten.losses {
            report.deviate(DeviationKind::LeftOut, loss.place, loss.message);
        }
        Ok(())
    }

    /// Takes along what is in a folder beside its files: the flushes of a captured call, and nothing else.
    fn others(
        &self,
        folder: &Folder<'_>,
        entries: &[Entry],
        new: &NewFolder,
        changes: &mut Changes,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        for entry in entries {
            match (&entry.name, entry.kind) {
                (Some(_), EntryKind::File) => {}
                (Some(name), EntryKind::Folder) if name == FLUSHES_FOLDER && !folder.place.contains('/') => {
                    self.flushes(folder, &new.folder(name)?, changes, report)?;
                }
                (name, kind) => {
                    let name = name.as_deref().unwrap_or("(a name that is not UTF-8)");
                    report.deviate(DeviationKind::LeftOut, format!("{}/{name}", folder.place), what(kind));
                }
            }
        }
        Ok(())
    }

    fn flushes(
        &self,
        call: &Folder<'_>,
        new: &NewFolder,
        changes: &mut Changes,
        report: &mut Report,
    ) -> Result<(), SinkError> {
        let (from, place) = (call.from.join(FLUSHES_FOLDER), format!("{}/{FLUSHES_FOLDER}", call.place));
        let entries = match self.entries(&from) {
            Ok(entries) => entries,
            Err(error) => {
                report.deviate(DeviationKind::LeftOut, place, chain(&error));
                return Ok(());
            }
        };
        for entry in entries {
            match (entry.name, entry.kind) {
                (Some(name), EntryKind::Folder) => {
                    let flush = Folder {
                        from: from.join(&name),
                        place: format!("{place}/{name}"),
                        details: call.details,
                        as_it_is: call.as_it_is,
                    };
                    self.carry(&flush, &new.folder(&name)?, changes, report)?;
                }
                (name, kind) => {
                    let name = name.as_deref().unwrap_or("(a name that is not UTF-8)");
                    report.deviate(DeviationKind::LeftOut, format!("{place}/{name}"), what(kind));
                }
            }
        }
        Ok(())
    }
}

/// The names of a folder's regular files.
fn files(entries: &[Entry]) -> impl Iterator<Item = &str> {
    let regular = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    regular.filter_map(|entry| entry.name.as_deref())
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn group_of(name: &str) -> Option<Group> {
    Group::ALL.into_iter().find(|group| group.stem() == stem(name))
}

/// Says why something is not taken along.
fn what(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a file that is no part of a call",
        EntryKind::Folder => "a folder that is no part of a call",
        EntryKind::Link => "a symbolic link, and those are not followed",
        EntryKind::Other => "not a regular file",
    }
}
