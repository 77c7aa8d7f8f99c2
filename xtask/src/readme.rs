//! The commands of README.md that are run as they stand there.

/// The comment before a fenced block whose commands are run.
const MARKER: &str = "<!-- ci: run -->";

/// A fenced block of commands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Line of its fence, from 1.
    pub(crate) line: usize,
    /// Its commands: the lines behind a `$ ` where there are such, otherwise all lines.
    pub(crate) script: String,
}

/// Finds the marked blocks; at least one has to be there.
pub(crate) fn marked_blocks(readme: &str) -> Result<Vec<Block>, String> {
    let mut lines = (1..).zip(readme.lines());
    let mut blocks = Vec::new();
    while let Some((marked, line)) = lines.next() {
        if line.trim() != MARKER {
            continue;
        }
        let (fence, opening) = lines
            .by_ref()
            .find(|(_, line)| !line.trim().is_empty())
            .ok_or_else(|| format!("README.md:{marked}: nothing follows `{MARKER}`"))?;
        if !opening.starts_with("```") {
            return Err(format!("README.md:{fence}: a fenced block has to follow `{MARKER}`"));
        }
        let body: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
        let prompted: Vec<&str> = body.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
        let commands = if prompted.is_empty() { body } else { prompted };
        blocks.push(Block { line: fence, script: commands.join("\n") });
    }
    if blocks.is_empty() {
        return Err(format!(
            "README.md has no line `{MARKER}`: mark the fenced blocks of commands that have to work"
        ));
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_blocks_are_found_and_others_left_alone() {
        let readme = "\
# callbox

<!-- ci: run -->
```sh
cargo run -- list
cargo run -- show
```

```sh
rm -rf everything
```

<!-- ci: run -->

```console
$ cargo xtask test
12 passed, 0 failed
```
";
        let blocks = marked_blocks(readme).unwrap();
        let found: Vec<_> = blocks.iter().map(|b| (b.line, b.script.as_str())).collect();
        assert_eq!(found, [(4, "cargo run -- list\ncargo run -- show"), (15, "cargo xtask test")]);
    }

    #[test]
    fn a_missing_marker_or_block_is_named() {
        for (readme, expected) in [
            ("```sh\nls\n```\n", "README.md has no line"),
            ("<!-- ci: run -->\n", "README.md:1: nothing follows"),
            ("<!-- ci: run -->\ntext\n", "README.md:2: a fenced block"),
        ] {
            let message = marked_blocks(readme).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
