//! Countersign decides whether the person on a support line may do what they ask.
//!
//! # The map
//!
//! | room | answers | knows |
//! |---|---|---|
//! | [`grpc`] | what is asked | tonic, generated types |
//! | [`client`] | which system asks | config's grants |
//! | [`interaction`] | in which call or chat | nothing else |
//! | [`authorize`] | what is decided: the recipe | traits and types of the rooms below |
//! | [`manage`] | what is changed | traits and types of the rooms below |
//! | [`identity`] | who is speaking | Argon2 in `identity/hasher*`, PASETO in `identity/token.rs` only |
//! | [`throttle`] | how often one may try | Redis in `throttle/redis*` only |
//! | [`directory`] | who may do what | SQLite in `directory/sqlite*`, PostgreSQL in `directory/postgres*` only |
//! | [`people`] | who may change whom | nothing else |
//! | [`policy`] | by which rules | Cedar in `policy/cedar*` only |
//! | [`escalation`] | who decides instead | nothing else |
//! | [`notice`] | who is told | HTTP in `notice/webhook.rs`, SMTP in `notice/smtp.rs` only |
//! | [`review`] | what is amiss in who is on record | nothing else |
//! | [`audit`] | what happened | SQLite in `audit/segment.rs` only |
//! | [`redis`](mod@redis) | how Redis is reached | the redis crate |
//! | [`telemetry`] | what is seen of it: log, metrics | Prometheus in `telemetry/metrics.rs` only |
//! | [`data_dir`] | who owns the files | nothing else |
//! | [`private_file`] | what stands in a file that nobody else may read | nothing else |
//! | [`spelling`] | what was meant by a wrong name | nothing else |
//! | [`config`] | how it is set up | TOML |
//! | [`cli`] | what an operator types | all |
//! | [`app`] | which concrete parts run | all |
//!
//! # The dependency rule
//!
//! `grpc` and `cli` → `telemetry` → `authorize`, `manage`, `audit` → the rest. The rest never point back, nor at each other's adapters. A
//! folder's root file names no tonic, prost, rusqlite or cedar; only files named after a technology do. `app` is the only
//! file that picks concrete parts. `tests/it/house.rs` checks it.
//!
//! # Glossary
//!
//! *Account*: a customer. *Contact*: a person of an account. *Primary admin*: the contact who answers for the account.
//! *Role*: a named set of privileges, at company or site *scope*. *Client system*: a program that asks (an IVR, a
//! portal, an order backend). *Interaction*: one call or chat. *Channel*: phone, portal or chat. *Calling number* and
//! *attestation*: from where a call comes, and how far its carrier vouches for that (STIR/SHAKEN). *Evidence*: what a
//! caller offers as proof. *Proof*: evidence that was checked. *Action*: what is to be done; its *data class* says what
//! it touches. *CPNI*: customer proprietary network information, 47 CFR 64.2003. *Permit*: policy's leave. *Decision*:
//! ALLOW, CHALLENGE, ESCALATE or DENY; its *reason* is public, its *cause* stands in the audit. *Obligation*: what goes
//! with an ALLOW. *Remedy*: another, lawful way. *Guidance*: what is said. *Bundle*: the policies and texts that decide.
//! *Revision*: counts the changes of directory or bundle. *Standing*: account, roles and enrolment of a contact in one snapshot.
//! *Tail*: the newest changes of the directory, by which is known what of a cache is outdated. *Receipt*: proof that a record is durable.

pub mod app;
pub mod audit;
pub mod authorize;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod data_dir;
pub mod directory;
pub mod escalation;
pub mod grpc;
pub mod identity;
pub mod interaction;
pub mod manage;
pub mod notice;
pub mod people;
pub mod policy;
pub mod private_file;
pub mod redis;
pub mod review;
pub mod spelling;
pub mod telemetry;
pub mod throttle;
