//! What is changed: one file per use case. Knows traits and types, no transport and no store.

pub mod passphrase;
pub mod reload;
