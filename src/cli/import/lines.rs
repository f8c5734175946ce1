//! The lines of a file: bounded, numbered, and never a panic whatever the file holds.

use std::io::{self, BufRead};

/// A longer line is no row: all fields together may have some 2,000 bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// What is wrong at one place of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The column by its name, or the character by its number.
    pub(super) column: String,
    /// What kind of value stands there; never the value.
    pub(super) class: String,
    /// What is wrong.
    pub(super) why: String,
}

impl Flaw {
    /// A flaw of a column's value.
    pub(super) fn of(column: &str, value: &str, why: impl Into<String>) -> Self {
        Self { column: column.to_owned(), class: class_of(value), why: why.into() }
    }

    /// A flaw of the line, at a character, from 0.
    pub(super) fn at(character: usize, class: &str, why: &str) -> Self {
        Self { column: format!("character {}", character + 1), class: class.to_owned(), why: why.to_owned() }
    }
}

/// Reads line by line; line ends are LF or CRLF, and a byte order mark at the beginning is dropped.
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u32,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn of(input: R) -> Self {
        Self { input, line: Vec::new(), number: 0 }
    }

    /// The next line that is not blank, with its number; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<(u32, Result<&str, Flaw>)>> {
        loop {
            let Some(is_whole) = self.read()? else { return Ok(None) };
            self.number = self.number.saturating_add(1);
            if !is_whole {
                return Ok(Some((
                    self.number,
                    Err(Flaw::at(LONGEST_LINE, "oversize", "the line is too long for a row")),
                )));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some((self.number, text_of(&self.line, self.number == 1))))
    }

    /// Reads a line without its end; `false`: it was too long, and its rest is skipped; `None` at the end of the file.
    fn read(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut is_whole = true;
        let mut is_begun = false;
        loop {
            let ready = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                ready => ready?,
            };
            if ready.is_empty() {
                return Ok(is_begun.then_some(is_whole));
            }
            is_begun = true;
            let end = ready.iter().position(|byte| *byte == b'\n');
            let part = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
            if self.line.len() + part.len() > LONGEST_LINE {
                is_whole = false;
            } else {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(is_whole));
            }
        }
    }
}

fn text_of(line: &[u8], is_first: bool) -> Result<&str, Flaw> {
    let line = if is_first { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let characters = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().count();
    if let Some(nul) = line.iter().position(|byte| *byte == 0) {
        let before = line.get(..nul).unwrap_or_default();
        return Err(Flaw::at(characters(before), "NUL", "a NUL byte is no text"));
    }
    std::str::from_utf8(line).map_err(|error| {
        let before = line.get(..error.valid_up_to()).unwrap_or_default();
        Flaw::at(characters(before), "not UTF-8", "the file must be UTF-8")
    })
}

/// What kind of value it is: enough to find the mistake, and nothing that tells about a person.
fn class_of(value: &str) -> String {
    let length = value.chars().count();
    let kind = match value {
        "" => return "empty".to_owned(),
        _ if value.trim().is_empty() => "white space",
        _ if value.chars().any(char::is_control) => "text with control characters",
        _ if value.bytes().all(|byte| byte.is_ascii_digit()) => "digits",
        _ if value.is_ascii() => "ASCII text",
        _ => "text",
    };
    format!("{kind}, {length} characters")
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
