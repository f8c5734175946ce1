//! What a client, an auditor or a reviewer can see of Countersign: one binary, a module per behaviour.
//!
//! `make test` installs the real clients that some modules drive (grpcurl, Python, buf), then runs this.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "clippy.toml allows these in test functions; here the functions between them are tests, too"
)]

mod admission;
mod alike;
mod answer;
mod attackers;
mod audit;
mod backup;
mod cancel;
mod cli;
mod config;
mod counters;
mod coverage;
mod crash;
mod delivery;
mod directory;
mod doctor;
mod escalation;
mod examples;
mod fleet;
mod house;
mod import;
mod instructions;
mod interaction;
mod keypad;
mod life_cycle;
mod limits;
mod managed;
mod marked;
mod matrix;
mod memory;
mod model;
mod notices;
mod observability;
mod overload;
mod own_passphrase;
mod passphrase;
mod people;
mod people_in_postgres;
mod phone;
mod policy;
mod portal;
mod postgres;
mod process;
mod proto;
mod question;
mod redis;
mod reload;
mod reset;
mod review;
mod role_cache;
mod scope;
mod secrets;
mod sidecar;
mod spoken;
mod start;
mod stores;
mod surface;
mod throttle;
mod throttled;
mod token;
mod tools;
mod watch;
