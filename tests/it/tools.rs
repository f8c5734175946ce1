//! The real clients that `tests/install` puts into `tests/`. A missing one fails its tests: they are never skipped.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn buf() -> Command {
    command("tests/node_modules/.bin/buf")
}

pub fn grpcurl() -> Command {
    command("tests/.venv/bin/grpcurl")
}

pub fn python() -> Command {
    command("tests/.venv/bin/python")
}

fn command(path: &str) -> Command {
    let program = repository().join(path);
    assert!(program.exists(), "{path} is missing: run `make install`");
    Command::new(program)
}

/// Runs to the end; standard output if it succeeded, everything it said if not.
pub fn run(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    if status.success() { Ok(stdout) } else { Err(format!("{status}\n{stdout}\n{stderr}")) }
}

/// Every file below `folder` with this extension, sorted, relative to the repository.
pub fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                let name = path.file_name().unwrap();
                if name != "node_modules" && name != ".venv" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path.strip_prefix(repository()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: impl AsRef<Path>) -> String {
    let path = repository().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
