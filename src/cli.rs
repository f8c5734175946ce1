//! What an operator types. One file per command; none decides anything, each asks the rooms.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

mod account;
mod afar;
mod ask;
mod audit;
mod backup;
mod completions;
mod connect;
mod contact;
mod demo;
mod directory;
mod doctor;
mod door;
mod escalation;
mod export;
mod headline;
mod import;
mod keys;
mod notices;
mod passphrase;
mod place;
mod policy;
mod progress;
mod review;
mod role;
mod secret;
mod serve;
mod sidecar;
mod table;
mod watch;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "countersign",
    version,
    about = "Decides whether the person on a support line may do what they ask",
    long_about = "Countersign is a gRPC authorization sidecar. It proves who is speaking, checks role and privilege against \
                  policy, and writes down every answer before it gives it.",
    after_help = "Start with `countersign demo`: a sample company on this machine, and lines to paste.",
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Doctor(doctor::Doctor),
    Ask(Box<ask::Ask>),
    Audit(audit::Audit),
    Watch(watch::Watch),
    Policy(policy::Policy),
    Keys(keys::Keys),
    Passphrase(passphrase::Passphrase),
    Import(Box<import::Import>),
    Export(export::Export),
    Account(account::Account),
    Contact(contact::Contact),
    Role(role::Role),
    Escalation(escalation::Escalation),
    Notices(notices::Notices),
    Review(review::Review),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Directory(directory::Directory),
    Completions(completions::Completions),
}

/// Runs a command; its exit code says how it went.
///
/// # Errors
/// Whatever kept the command from doing its work, in words for an operator.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Demo(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Ask(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Watch(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::Passphrase(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Account(command) => command.run(),
        Command::Contact(command) => command.run(),
        Command::Role(command) => command.run(),
        Command::Escalation(command) => command.run(),
        Command::Notices(command) => command.run(),
        Command::Review(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Directory(command) => command.run(),
        Command::Completions(command) => command.run(),
    }
}

/// Tells the operator what went wrong, on standard error.
pub fn complain(error: &anyhow::Error) {
    // When even standard error is gone, nobody is left to tell.
    drop(writeln!(io::stderr(), "countersign: {error:#}"));
}

/// One I/O thread is enough for a command and for a sidecar: hashing and SQLite have threads of their own, and a
/// current-thread runtime answers about 1.4 times as many calls per core.
fn on_runtime<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // What a thread still reads, a folder on a dead mount perhaps, does not hold the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_help_of_every_command_ends_with_an_example() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            let shows = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let groups = command.has_subcommands();
            assert!(groups || shows.contains("Example"), "countersign {} --help has no example", command.get_name());
            commands.extend(command.get_subcommands().cloned());
        }
    }
}
