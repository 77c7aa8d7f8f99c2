//! What a file is that `torch.save` did not write.

use callbox_core::{FormatError, Quoted};

use super::LOCAL_HEADER;

/// How every file of torch before 1.6 begins: a pickled magic number.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
/// Where a tar archive says that it is one.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Fails with what the file seems to be, unless it begins as a zip archive does.
pub(crate) fn refuse(bytes: &[u8]) -> Result<(), FormatError> {
    if bytes.starts_with(&LOCAL_HEADER) {
        return Ok(());
    }
    if bytes.is_empty() {
        return Err(FormatError::Truncated("the file is empty".to_owned()));
    }
    if bytes.starts_with(LEGACY_MAGIC) {
        return Err(FormatError::Unsupported(
            "the layout of torch before 1.6, which is no zip archive; load and save it with a newer torch"
                .to_owned(),
        ));
    }
    let (at, magic) = TAR_MAGIC;
    if bytes.get(at..).is_some_and(|rest| rest.starts_with(magic)) {
        return Err(FormatError::Unsupported(
            "the tar layout of the first torch versions; load and save it with a newer torch".to_owned(),
        ));
    }
    Err(FormatError::NotThisFormat {
        format: "torch.save",
        reason: format!("it begins with {}, a zip archive with `PK`", Quoted(&bytes[..bytes.len().min(8)])),
    })
}

/// Fails for an entry that only TorchScript programs have.
pub(super) fn refuse_program(name: &[u8]) -> Result<(), FormatError> {
    let mut parts = name.split(|&byte| byte == b'/').skip(1);
    if matches!(parts.next(), Some(b"code" | b"constants.pkl")) {
        return Err(FormatError::Unsupported("a TorchScript program, not a file of tensors".to_owned()));
    }
    Ok(())
}
