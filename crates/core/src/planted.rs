//! Bugs that are planted on purpose, to see whether the tests find them.
//!
//! Without the feature `planted-bugs`, which nothing shipped turns on, [`bug`] is the constant `false` and no code of
//! a bug is built. With it, `CALLBOX_PLANTED_BUG` names the one bug that is there; `cargo xtask planted` plants each
//! and runs the test that has to fail.

/// Tells whether the bug of this name is planted.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn bug(_name: &str) -> bool {
    false
}

/// Tells whether the bug of this name is planted.
#[cfg(feature = "planted-bugs")]
pub fn bug(name: &str) -> bool {
    static PLANTED: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "a test chooses the bug; no shipped build reads this")]
        let planted = std::env::var("CALLBOX_PLANTED_BUG");
        planted.ok()
    });
    PLANTED.as_deref() == Some(name)
}

#[cfg(all(test, not(feature = "planted-bugs")))]
mod tests {
    #[test]
    fn a_build_that_is_shipped_has_no_bug_planted() {
        const { assert!(!super::bug("exist_ok")) };
    }
}
