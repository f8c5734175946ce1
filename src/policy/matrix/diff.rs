//! What differs between two matrices, line by line: the change of rules as its reviewer reads it.

use std::fmt::Write as _;

/// The tables of two rendered matrices that differ: of each its head, then the lines that were (`-`) and that are now (`+`).
/// Empty when nothing does.
#[must_use]
pub fn diff(old: &str, new: &str) -> String {
    let (old, new) = (tables(old), tables(new));
    let mut out = String::new();
    for table in &old {
        match new.iter().find(|other| other.action == table.action) {
            Some(now) => table.changed_to(now, &mut out),
            None => table.whole('-', &mut out),
        }
    }
    for table in new.iter().filter(|table| !old.iter().any(|other| other.action == table.action)) {
        table.whole('+', &mut out);
    }
    out
}

/// The table of one action.
struct Table<'a> {
    action: &'a str,
    /// Title, channels, proofs.
    head: Vec<&'a str>,
    lines: Vec<Line<'a>>,
}

/// A line of a role, under a condition or ordinarily.
struct Line<'a> {
    condition: Option<&'a str>,
    role: &'a str,
    text: &'a str,
}

/// What stands before the first action is for people.
fn tables(text: &str) -> Vec<Table<'_>> {
    text.split("\n\n").skip(1).filter_map(table).collect()
}

fn table(text: &str) -> Option<Table<'_>> {
    let (head, lines): (Vec<_>, Vec<_>) = text.lines().enumerate().partition(|(at, _)| *at < HEAD_LINES);
    let head: Vec<&str> = head.into_iter().map(|(_, line)| line).collect();
    let action = head.first()?.split(' ').next()?;
    let mut condition = None;
    let mut table = Table { action, head, lines: Vec::new() };
    for (_, text) in lines {
        // A role has cells; a condition is a line of words.
        match text.trim_start().split_once("  ") {
            Some((role, _)) => table.lines.push(Line { condition, role, text }),
            None => condition = Some(text),
        }
    }
    Some(table)
}

impl Table<'_> {
    fn changed_to(&self, now: &Table<'_>, out: &mut String) {
        let gone = |line: &&Line<'_>| !now.has(line);
        let new = |line: &&Line<'_>| !self.has(line);
        let conditions = self.lines.iter().filter(gone).chain(now.lines.iter().filter(new)).map(|line| line.condition);
        let mut conditions: Vec<Option<&str>> = conditions.collect();
        conditions.sort_unstable();
        conditions.dedup();
        if conditions.is_empty() && self.head == now.head {
            return;
        }
        part(out);
        for (was, is) in self.head.iter().zip(&now.head) {
            if was == is {
                print(' ', is, out);
            } else {
                print('-', was, out);
                print('+', is, out);
            }
        }
        for condition in conditions {
            if let Some(condition) = condition {
                print(' ', condition, out);
            }
            for line in self.lines.iter().filter(gone).filter(|line| line.condition == condition) {
                print('-', line.text, out);
                if let Some(line) = now.of(line.role, condition) {
                    print('+', line.text, out);
                }
            }
            let appeared = |line: &&Line<'_>| self.of(line.role, condition).is_none() && line.condition == condition;
            for line in now.lines.iter().filter(appeared) {
                print('+', line.text, out);
            }
        }
    }

    fn has(&self, line: &Line<'_>) -> bool {
        self.of(line.role, line.condition).is_some_and(|other| other.text == line.text)
    }

    fn of(&self, role: &str, condition: Option<&str>) -> Option<&Line<'_>> {
        self.lines.iter().find(|line| line.role == role && line.condition == condition)
    }

    fn whole(&self, sign: char, out: &mut String) {
        part(out);
        for line in &self.head {
            print(sign, line, out);
        }
        for line in self.lines.iter().filter(|line| line.condition.is_none()) {
            print(sign, line.text, out);
        }
    }
}

/// Tables stand apart.
fn part(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn print(sign: char, line: &str, out: &mut String) {
    let _ = writeln!(out, "{}", format!("{sign}{line}").trim_end());
}

/// Title, channels and proofs stand above the roles.
const HEAD_LINES: usize = 3;

#[cfg(test)]
mod tests;
