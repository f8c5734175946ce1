//! `countersign policy matrix`: who may do what, where, with which proof; and what differs from before.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{Which, load};
use crate::{
    identity::Method,
    policy::{
        Bundle,
        matrix::{self, Condition},
    },
};

/// Print who may do what, where, with which proof, or what differs from before
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  countersign policy matrix my-policy > before.txt
  countersign policy matrix my-policy --diff before.txt
  countersign policy matrix my-policy --diff another-policy

Exit codes:
  0  it is printed; with --diff: nothing differs
  1  with --diff: something does
  2  a bundle does not load, or a file is no matrix")]
pub(super) struct Matrix {
    #[command(flatten)]
    which: Which,
    /// Print only the lines that differ from those of this bundle, or of this saved matrix
    #[arg(long, value_name = "OLD")]
    diff: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Matrix {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        match self.print() {
            Ok(code) => Ok(code),
            // As diff has it: 1 means that something differs.
            Err(error) if !is_closed_pipe(&error) => {
                super::super::complain(&error);
                Ok(ExitCode::from(TROUBLE))
            }
            Err(error) => Err(error),
        }
    }

    fn print(&self) -> anyhow::Result<ExitCode> {
        let bundle = self.which.bundle()?;
        let mut out = io::stdout().lock();
        let Some(old) = &self.diff else {
            if self.json {
                writeln!(out, "{:#}", cells(&bundle))?;
            } else {
                write!(out, "{}", matrix::render(&bundle))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let difference = matrix::diff(&rendered(old)?, &matrix::render(&bundle));
        if self.json {
            let lines: Vec<&str> = difference.lines().collect();
            writeln!(out, "{:#}", json!({ "differs": !lines.is_empty(), "lines": lines }))?;
        } else {
            write!(out, "{difference}")?;
        }
        Ok(if difference.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Whoever reads what is printed has seen enough, which is no trouble.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// The matrix of the bundle in this folder, or the one that was saved in this file.
fn rendered(old: &Path) -> anyhow::Result<String> {
    if old.is_dir() {
        return Ok(matrix::render(&load(Some(old))?));
    }
    let text = fs::read_to_string(old).with_context(|| {
        format!("{} cannot be read: name a folder with a bundle, or a file with a saved matrix", old.display())
    })?;
    if !matrix::is_rendered(&text) {
        bail!("{} is no matrix: save one with `countersign policy matrix DIR > FILE`", old.display());
    }
    Ok(text)
}

fn cells(bundle: &Bundle) -> Value {
    let conditions = std::iter::once(Condition::Ordinary).chain(Condition::EXTRAORDINARY);
    let cells = conditions.flat_map(|condition| {
        matrix::rows(bundle, condition).into_iter().map(move |row| {
            json!({
                "action": row.action.name,
                "channel": row.channel.code(),
                "proof": row.proof.code(),
                "method": row.method.map(Method::code),
                "role": row.role.as_str(),
                "condition": condition.words(),
                "outcome": row.outcome.code(),
                "rule": row.rule,
            })
        })
    });
    json!({ "revision": bundle.revision(), "cells": cells.collect::<Vec<_>>() })
}

/// The exit code of trouble, as diff has it.
const TROUBLE: u8 = 2;
