//! On whose behalf a portal asks: a person who is logged in, stated in that very call by a client that may state it (F7).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::OwnedSemaphorePermit;

use super::ManageError;
use crate::{
    audit::record::Person,
    client::{ClientSystem, Rpc},
    clock::Clock,
    directory::{Directory, Freshness, Look, Revision, Selection, SubjectHints, look::Whose},
    identity::{self, Proof, Verified, login},
    interaction::{Interaction, InteractionKey},
};

/// A call on somebody's behalf.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The client system that asks.
    pub client: Arc<ClientSystem>,
    /// The case or session in the portal.
    pub interaction: Interaction,
    /// Whom it names.
    pub subject: SubjectHints,
    /// When he logged in, as the client asserts.
    pub login_time: Timestamp,
}

/// A call on somebody's behalf.
pub struct Asked {
    /// By which RPC.
    pub rpc: Rpc,
    /// On whose behalf.
    pub by: LoggedIn,
    /// Correlates log lines and audit records.
    pub request_id: String,
    /// When the call arrived, on the monotonic clock.
    pub arrived: Duration,
    /// Its place among the calls that run at the same time; `None`: it is not counted.
    pub place: Option<OwnedSemaphorePermit>,
}

/// What came of the login, and of whom it was said.
#[derive(Debug)]
pub(super) struct Proving {
    /// Whom the words select.
    pub(super) selection: Selection,
    /// Who is verified, or why nobody is: a stable code for the audit.
    pub(super) proved: Result<Verified, &'static str>,
}

impl Proving {
    /// The person, as the audit has him.
    pub(super) fn person(&self) -> Person {
        let mut person = Person {
            account: self.selection.account.clone(),
            contact: self.selection.contact.clone(),
            evidence: "portal_login".to_owned(),
            ..Person::default()
        };
        match &self.proved {
            Err(why) => (*why).clone_into(&mut person.proof),
            Ok(verified) => {
                "verified".clone_into(&mut person.proof);
                person.account = Some(verified.account().clone());
                person.contact = Some(verified.contact().clone());
                person.method = Some(verified.method().code().to_owned());
                person.proved_at = Some(verified.proved_at());
                let roles = verified.standing().assignments.iter();
                person.roles = roles.map(|assignment| assignment.role.at(&assignment.scope)).collect();
            }
        }
        person
    }

    /// The directory revision at which the person was read; 0 when nobody was.
    pub(super) fn revision(&self) -> Revision {
        self.proved.as_ref().map_or_else(|_| Revision::default(), |verified| verified.standing().revision)
    }
}

impl LoggedIn {
    /// Makes a proof of the login, as Authorize does: from the store, whatever a cache may hold.
    ///
    /// # Errors
    /// [`ManageError::Directory`]; [`ManageError::ClockOff`].
    pub(super) async fn prove(
        &self,
        directory: &dyn Directory,
        max_age: SignedDuration,
        clock: &dyn Clock,
    ) -> Result<Proving, ManageError> {
        if !clock.agrees() {
            return Err(ManageError::ClockOff);
        }
        let now = clock.now();
        let key = InteractionKey { group: self.client.group.clone(), id: self.interaction.id.clone() };
        let look = Look {
            subject: self.subject.clone(),
            whose: Whose::Selected,
            interaction: Some(key.clone()),
            attempt: None,
            freshness: Freshness::FromStore,
            now,
        };
        let seen = directory.look(&look).await?;
        let no = |why| Ok(Proving { selection: seen.selection.clone(), proved: Err(why) });
        let Some(standing) = seen.standing.clone() else { return no("login_of_nobody") };
        let Some(proof) = login::check(&self.client, &standing.contact.id, self.login_time, now, max_age) else {
            return no("login_out_of_time");
        };
        let interaction = match seen.interaction.clone() {
            Some(interaction) => interaction,
            None => directory.open_interaction(&key, &self.client.name, now).await?,
        };
        if interaction.ended_at.is_some() {
            return no("interaction_ended");
        }
        match identity::verify(&Proof::PortalLogin(proof), standing) {
            Some(verified) => Ok(Proving { selection: seen.selection, proved: Ok(verified) }),
            None => no("login_of_inactive"),
        }
    }
}

/// A random id with 122 bits from the operating system (RFC 9562, version 4).
pub(super) fn random_id() -> Result<String, ManageError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| ManageError::Randomness)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}
