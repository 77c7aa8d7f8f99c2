//! Names from files inside messages.

use std::fmt;

/// Longest part of a name that a message shows, in bytes.
const SHOWN: usize = 100;

/// A name that comes from a file, as a message shows it: in backticks, control characters escaped, cut where
/// it is long. So a name can neither flood a log nor steer a terminal.
///
/// ```
/// use callbox_core::Quoted;
///
/// assert_eq!(Quoted(b"arg_0").to_string(), "`arg_0`");
/// assert_eq!(Quoted(b"\x1b[2J").to_string(), "`\\u{1b}[2J`");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a>(pub &'a [u8]);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN)];
        f.write_str("`")?;
        for character in String::from_utf8_lossy(shown).chars() {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        f.write_str(if shown.len() < self.0.len() { "...`" } else { "`" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut() {
        assert!(Quoted(&[b'x'; 70_000]).to_string().len() < 2 * SHOWN);
    }
}
