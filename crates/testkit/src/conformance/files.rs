use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use callbox_sink_fs::files::{FileFacts, Files, OpenFile, OpenFolder, Opening};

/// A file system, and a place in it.
#[derive(Debug)]
pub struct FilesCase {
    /// The file system.
    pub files: Box<dyn Files>,
    /// A folder that is there, and empty.
    pub folder: PathBuf,
}

/// Checks what every file system under recording must do; `make` gives a fresh place each time.
///
/// # Panics
///
/// Where the file system breaks a promise of its port.
pub fn files(make: &dyn Fn() -> FilesCase) {
    folders_are_made_once_and_below_what_is_there(&make());
    names_that_are_taken_are_not_given_again(&make());
    what_a_name_is_decides_what_can_be_done_with_it(&make());
    a_new_file_is_written_from_its_beginning(&make());
    lines_go_to_the_end_whoever_writes_them(&make());
    places_are_written_again_whoever_opened_the_file(&make());
    a_file_that_is_there_can_be_read(&make());
    space_that_is_reserved_is_part_of_the_size(&make());
    a_rename_puts_a_file_in_the_place_of_another(&make());
    what_is_removed_says_so_and_its_name_is_free(&make());
    a_lock_is_one_of_whoever_opened_the_file(&make());
    names_may_have_255_bytes(&make());
    syncs_and_closes_succeed(&make());
}

fn open(case: &FilesCase) -> Box<dyn OpenFolder> {
    case.files.open_folder(&case.folder).expect("the folder is there")
}

fn kind<T>(answer: std::io::Result<T>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

fn make(folder: &dyn OpenFolder, name: &str) -> Box<dyn OpenFile> {
    folder.open_file(name, Opening::New).expect("a file can be made")
}

fn write(file: &dyn OpenFile, text: &str) {
    assert_eq!(file.write(text.as_bytes()).expect("a file can be written"), text.len());
}

/// Reads a whole file, which has to be opened for lines or for reading: others are not readable.
fn text(file: &dyn OpenFile) -> String {
    let mut bytes = [0; 64];
    let len = file.read_at(&mut bytes, 0).expect("a file can be read");
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

fn lines(folder: &dyn OpenFolder, name: &str) -> Box<dyn OpenFile> {
    folder.open_file(name, Opening::Lines).expect("a file can be opened for lines")
}

fn facts(file: &dyn OpenFile) -> FileFacts {
    file.facts().expect("a file can be looked at")
}

fn folders_are_made_once_and_below_what_is_there(case: &FilesCase) {
    let path = |name: &str| case.folder.join(name);
    assert_eq!(kind(case.files.open_folder(&path("a"))), Some(ErrorKind::NotFound));
    assert_eq!(kind(case.files.create_folder(&path("a/b"))), Some(ErrorKind::NotFound));
    case.files.create_folder(&path("a")).expect("a folder can be made");
    assert_eq!(kind(case.files.create_folder(&path("a"))), Some(ErrorKind::AlreadyExists));
    case.files.create_folder(&path("a/b")).expect("and one in it");
    let below = open(case).open_folder("a").and_then(|folder| folder.open_folder("b"));
    make(&*below.expect("they can be opened by name"), "file");
    assert_eq!(kind(case.files.open_folder(Path::new(&path("a/b/file")))), Some(ErrorKind::NotADirectory));
    assert!(open(case).free_bytes().expect("the free space can be asked for") > 0);
}

fn names_that_are_taken_are_not_given_again(case: &FilesCase) {
    let folder = open(case);
    folder.create_folder("folder").expect("a folder can be made");
    make(&*folder, "file");
    for taken in ["folder", "file"] {
        assert_eq!(kind(folder.create_folder(taken)), Some(ErrorKind::AlreadyExists), "{taken}");
        for how in [Opening::New, Opening::NewLines] {
            assert_eq!(kind(folder.open_file(taken, how)), Some(ErrorKind::AlreadyExists), "{taken}");
        }
    }
}

fn what_a_name_is_decides_what_can_be_done_with_it(case: &FilesCase) {
    let folder = open(case);
    folder.create_folder("folder").expect("a folder can be made");
    make(&*folder, "file");
    assert_eq!(kind(folder.open_file("folder", Opening::Lines)), Some(ErrorKind::IsADirectory));
    assert_eq!(kind(folder.open_folder("file")), Some(ErrorKind::NotADirectory));
    assert_eq!(kind(folder.remove_file("folder")), Some(ErrorKind::IsADirectory));
    assert_eq!(kind(folder.remove_folder("file")), Some(ErrorKind::NotADirectory));
    for answer in [kind(folder.open_folder("none")), kind(folder.remove_file("none"))] {
        assert_eq!(answer, Some(ErrorKind::NotFound));
    }
    assert_eq!(kind(folder.remove_folder("none")), Some(ErrorKind::NotFound));
    assert_eq!(kind(folder.rename("none", "other")), Some(ErrorKind::NotFound));
}

fn a_new_file_is_written_from_its_beginning(case: &FilesCase) {
    let folder = open(case);
    let file = make(&*folder, "file");
    write(&*file, "one ");
    write(&*file, "two");
    assert_eq!(facts(&*file), FileFacts { bytes: 7, is_regular: true, is_removed: false });
    let reader = lines(&*folder, "file");
    assert_eq!(text(&*reader), "one two");
    let mut bytes = [0; 2];
    assert_eq!(reader.read_at(&mut bytes, 6).expect("the end can be read"), 1);
    assert_eq!(reader.read_at(&mut bytes, 7).expect("behind the end there is nothing"), 0);
    assert_eq!(reader.read_at(&mut bytes, 70).expect("nor further on"), 0);
    // What is cut off leaves a hole where this writer goes on.
    file.truncate(3).expect("a file can be cut");
    write(&*file, "!");
    assert_eq!(text(&*reader), "one\0\0\0\0!");
}

fn lines_go_to_the_end_whoever_writes_them(case: &FilesCase) {
    let folder = open(case);
    let first = folder.open_file("lines", Opening::NewLines).expect("a file can be made");
    let second = lines(&*folder, "lines");
    write(&*first, "a\n");
    write(&*second, "b\n");
    write(&*first, "torn");
    assert_eq!(text(&*second), "a\nb\ntorn");
    second.truncate(4).expect("a file can be cut");
    write(&*first, "c\n");
    assert_eq!(text(&*first), "a\nb\nc\n");
}

fn places_are_written_again_whoever_opened_the_file(case: &FilesCase) {
    let folder = open(case);
    let places = || folder.open_file("places", Opening::Places).expect("a file can be opened for places");
    let (first, second) = (places(), places());
    assert_eq!(first.write_at(b"one", 4).expect("a place can be written"), 3);
    assert_eq!(text(&*second), "\0\0\0\0one", "what was not written is zeros");
    second.write_at(b"two ", 0).expect("a place can be written");
    first.write_at(b"ONE!", 4).expect("and written again");
    assert_eq!((text(&*first), facts(&*second).bytes), ("two ONE!".to_owned(), 8));
    folder.create_folder("folder").expect("a folder can be made");
    assert_eq!(kind(folder.open_file("folder", Opening::Places)), Some(ErrorKind::IsADirectory));
}

fn a_file_that_is_there_can_be_read(case: &FilesCase) {
    let folder = open(case);
    write(&*make(&*folder, "file"), "written");
    let file = folder.open_file("file", Opening::Reading).expect("a file can be read");
    assert_eq!(text(&*file), "written");
    assert_eq!(kind(folder.open_file("other", Opening::Reading)), Some(ErrorKind::NotFound));
}

fn space_that_is_reserved_is_part_of_the_size(case: &FilesCase) {
    let folder = open(case);
    let file = make(&*folder, "file");
    file.allocate(5).expect("there is space");
    write(&*file, "ab");
    // Not every file system can reserve.
    let text = text(&*lines(&*folder, "file"));
    assert!(["ab\0\0\0", "ab"].contains(&text.as_str()), "{text:?}");
    write(&*file, "cdef");
    file.allocate(3).expect("there is space");
    assert_eq!(facts(&*file).bytes, 6, "what is there already is not made smaller");
}

fn a_rename_puts_a_file_in_the_place_of_another(case: &FilesCase) {
    let folder = open(case);
    let (file, other) = (make(&*folder, "file"), make(&*folder, "other"));
    write(&*file, "new");
    write(&*other, "old");
    folder.rename("file", "other").expect("a file can get another name");
    assert!(!facts(&*file).is_removed && facts(&*other).is_removed);
    assert_eq!(text(&*lines(&*folder, "other")), "new");
    assert_eq!(kind(folder.remove_file("file")), Some(ErrorKind::NotFound));
    write(&*file, "er");
    assert_eq!(text(&*lines(&*folder, "other")), "newer", "it is the same file");
}

fn what_is_removed_says_so_and_its_name_is_free(case: &FilesCase) {
    let folder = open(case);
    folder.create_folder("inner").expect("a folder can be made");
    let inner = folder.open_folder("inner").expect("and opened");
    let file = make(&*inner, "file");
    assert_eq!(kind(folder.remove_folder("inner")), Some(ErrorKind::DirectoryNotEmpty));
    assert!(!facts(&*file).is_removed);
    inner.remove_file("file").expect("a file can be removed");
    assert!(facts(&*file).is_removed);
    write(&*file, "it can still be written to");
    make(&*inner, "file");
    inner.remove_file("file").expect("its name was free");
    assert!(!inner.is_removed().expect("a folder can be asked"));
    folder.remove_folder("inner").expect("a folder can be removed");
    assert!(inner.is_removed().expect("a folder can be asked"));
    assert_eq!(kind(inner.open_file("file", Opening::New)), Some(ErrorKind::NotFound));
    folder.create_folder("inner").expect("its name is free");
}

fn a_lock_is_one_of_whoever_opened_the_file(case: &FilesCase) {
    let folder = open(case);
    let (first, second) = (lines(&*folder, "lines"), lines(&*folder, "lines"));
    let locks = |file: &dyn OpenFile| file.try_lock().expect("a lock can be asked for");
    assert!(locks(&*first) && locks(&*first), "who has the lock gets it again");
    assert!(!locks(&*second));
    second.unlock().expect("who has no lock can give none back");
    assert!(!locks(&*second));
    first.unlock().expect("a lock can be given back");
    assert!(locks(&*second));
    drop(second);
    assert!(locks(&*first), "closing the file gives it back too");
    first.close().expect("a file can be closed");
    assert!(locks(&*lines(&*folder, "lines")));
}

fn names_may_have_255_bytes(case: &FilesCase) {
    let folder = open(case);
    let (longest, longer) = ("x".repeat(255), "y".repeat(256));
    make(&*folder, &longest);
    let too_long = Some(ErrorKind::InvalidFilename);
    assert_eq!(kind(folder.open_file(&longer, Opening::New)), too_long);
    assert_eq!(kind(folder.create_folder(&longer)), too_long);
    assert_eq!(kind(folder.rename(&longest, &longer)), too_long);
    assert_eq!(kind(folder.remove_file(&longer)), too_long);
}

fn syncs_and_closes_succeed(case: &FilesCase) {
    let folder = open(case);
    let file = make(&*folder, "file");
    write(&*file, "text");
    file.sync().expect("a file can be synced");
    folder.sync().expect("a folder can be synced");
    file.close().expect("a file can be closed");
    assert_eq!(text(&*lines(&*folder, "file")), "text");
}
