//! The notice that tensors go to disk.

use std::path::Path;
use std::sync::Once;

use crate::config::{Config, DumpFormat, LimitScope};
use crate::environment::warn;

/// Says once in the program's life that the contents of tensors go to disk: which, where and how.
pub(crate) fn disclose(config: &Config, folder: &Path) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| warn(&disclosure(config, folder)));
}

fn disclosure(config: &Config, folder: &Path) -> String {
    let patterns = |list: &str| if list.is_empty() { "(none)".to_owned() } else { format!("`{list}`") };
    let format = match config.format {
        DumpFormat::Torch => "torch.save files (.pt)",
        DumpFormat::Safetensors => ".safetensors files",
    };
    let calls = match config.limits.max_count {
        u64::MAX => "any number of".to_owned(),
        count => format!("at most {count}"),
    };
    let bytes = match config.limits.max_bytes {
        u64::MAX => "of any size".to_owned(),
        bytes => format!("and {}", size(bytes)),
    };
    let scope = match config.limit_scope {
        LimitScope::Process => "",
        LimitScope::Session => " by all processes together",
    };
    format!(
        "level 10 writes the contents of tensors to disk: to {} as {format}, {calls} calls {bytes}{scope}; \
         include {}, exclude {}",
        folder.display(),
        patterns(&config.include),
        patterns(&config.exclude),
    )
}

/// Writes a size in the largest unit that it has one of, to three places.
fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{} {name}", (bytes as f64 / unit as f64 * 1e3).round() / 1e3),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_written_where_and_how() {
        let config =
            Config { format: DumpFormat::Safetensors, include: "*norm*".to_owned(), ..Config::default() };
        assert_eq!(
            disclosure(&config, Path::new("dumps_7")),
            "level 10 writes the contents of tensors to disk: to dumps_7 as .safetensors files, at most 1000 calls \
             and 20 GiB; include `*norm*`, exclude (none)"
        );
    }

    #[test]
    fn a_size_is_told_in_a_unit_that_suits_it() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (21_474, "20.971 KiB"),
            (5 << 19, "2.5 MiB"),
            (20 << 30, "20 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
