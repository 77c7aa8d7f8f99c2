//! Writes the seeds of every target to a folder each, and prints the targets: `NAME MAX_LEN`.
#![expect(clippy::print_stdout, reason = "its caller reads the lines")]

#[path = "../tests/hostile.rs"]
mod hostile;

use std::path::Path;
use std::{env, fs, io};

use callbox_fuzz::{Seeds, TARGETS};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).ok_or_else(|| io::Error::other("usage: seeds FOLDER"))?;
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        let mut seeds = Seeds::new(target.max_len);
        (target.seeds)(&mut seeds);
        for (number, seed) in seeds.into_inputs().iter().enumerate() {
            fs::write(folder.join(format!("seed_{number:03}")), seed)?;
        }
        for (name, file) in hostile::files(&target) {
            // Names of cases may have blanks and slashes.
            let name = name.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
            fs::write(folder.join(format!("hostile_{name}")), file)?;
        }
        println!("{} {}", target.name, target.max_len);
    }
    Ok(())
}
