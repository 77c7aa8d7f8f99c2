//! What `cargo xtask fuzz` is asked for.

/// The arguments, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// Names of targets; all of them without.
    targets: Vec<String>,
    /// Time for each target.
    pub(super) seconds: u64,
    /// Targets at a time.
    pub(super) jobs: usize,
    /// Keeps what earlier runs found, instead of running.
    pub(super) keep: bool,
}

impl Options {
    pub(super) fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options { targets: Vec::new(), seconds: 60, jobs: 1, keep: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seconds" => options.seconds = number(argument, arguments.next())?,
                "--jobs" => options.jobs = number(argument, arguments.next())? as usize,
                "--keep" => options.keep = true,
                target if !target.starts_with('-') => options.targets.push(target.to_owned()),
                other => {
                    return Err(format!(
                        "`fuzz` does not take `{other}`: it takes TARGETs, `--seconds N`, `--jobs N`, `--keep`"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Returns the targets that are meant.
    pub(super) fn choose(&self, all: &[String]) -> Result<Vec<String>, String> {
        if self.targets.is_empty() {
            return Ok(all.to_vec());
        }
        match self.targets.iter().find(|target| !all.contains(target)) {
            Some(target) => Err(format!("there is no target `{target}`; there are {}", all.join(", "))),
            None => Ok(self.targets.clone()),
        }
    }
}

fn number(name: &str, value: Option<&String>) -> Result<u64, String> {
    let number = value.and_then(|value| value.parse().ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{name}` takes a number from 1 on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_target_and_numbers_are_taken_in_any_order() {
        let targets = vec!["pt_file".to_owned(), "metadata".to_owned()];
        let expected = Options { targets, seconds: 7, jobs: 2, keep: false };
        assert_eq!(parse("--seconds 7 pt_file --jobs 2 metadata"), Ok(expected));
        for wrong in ["--seconds", "--jobs 0", "--second 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_named() {
        let all = ["a", "b"].map(str::to_owned);
        assert_eq!(parse("").unwrap().choose(&all).unwrap(), all);
        assert_eq!(parse("b").unwrap().choose(&all).unwrap(), ["b"]);
        assert_eq!(parse("c").unwrap().choose(&all).unwrap_err(), "there is no target `c`; there are a, b");
    }
}
