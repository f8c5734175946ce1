//! One text for every state of an account or a contact, so that whoever changes one can say which state he saw.

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::directory::{Account, Listed};

/// The state of an account.
#[must_use]
pub fn of_account(account: &Account) -> String {
    of(account)
}

/// The state of a contact and his roles.
#[must_use]
pub fn of_contact(listed: &Listed) -> String {
    of(listed)
}

/// Half of a digest is enough: two states that somebody makes to collide are both his own.
fn of(state: &impl Serialize) -> String {
    let json = serde_json::to_vec(state).expect("what is on record has no key that JSON lacks");
    BASE64URL_NOPAD.encode(Sha256::digest(json).as_slice().split_at(16).0)
}
