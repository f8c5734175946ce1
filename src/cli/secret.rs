//! Secrets of commands: from a file, a variable, standard input or the terminal. Never from an argument, which every
//! user of the machine can read.

use std::{
    fs,
    io::{self, IsTerminal, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, bail};
use zeroize::Zeroizing;

/// The first line of a file.
pub(super) fn from_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    first_line(&Zeroizing::new(text)).with_context(|| format!("{} is empty", path.display()))
}

/// A variable's value, if it is set.
pub(super) fn from_variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(Zeroizing::new)
}

/// The first line of standard input; asked for without echo when that is a terminal.
pub(super) fn from_input(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if io::stdin().is_terminal() {
        return Ok(Zeroizing::new(rpassword::prompt_password(format!("{prompt}: "))?));
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().take(LONGEST_INPUT).read_to_string(&mut text)?;
    first_line(&text).context("standard input is empty")
}

/// Writes a secret to a new file that its owner alone can read. An existing file is kept.
pub(super) fn to_file(path: &Path, secret: &str) -> anyhow::Result<()> {
    let mut file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} exists already, and is not overwritten; choose another file", path.display())
        }
        opened => opened.with_context(|| format!("{} cannot be made", path.display()))?,
    };
    writeln!(file, "{secret}").with_context(|| format!("{} cannot be written", path.display()))
}

fn first_line(text: &str) -> Option<Zeroizing<String>> {
    text.lines().next().filter(|line| !line.is_empty()).map(|line| Zeroizing::new(line.to_owned()))
}

/// More than any secret has, in bytes.
const LONGEST_INPUT: u64 = 65_536;
