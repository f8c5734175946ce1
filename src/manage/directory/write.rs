//! Changes who is on record: decided over one state of the account, committed upon that state alone, and once for a request.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Actor, Asked, By, Found, ManageError, Managing, Outcome, Shown, Told, random_id};
use crate::manage::records::to_the_microsecond;
use crate::{
    audit::ended,
    directory::{
        self, AccountId, ContactId, Directory, DirectoryError, Listed,
        people::{Applied, Decided, KeptRequest, PeopleStore, RequestKey},
        shape,
    },
    people::{
        Asking, Refusal,
        change::Wish,
        rules::{self, After, Facts, GRANTS, Plan},
    },
};

/// A change that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What.
    pub wish: Wish,
    /// The state that the actor saw; `None`: he does not mind which.
    pub etag: Option<String>,
    /// Whether it is only asked whether it could be.
    pub validate_only: bool,
    /// All that the request says besides its actor, so that another request under its id is found.
    pub content: Vec<u8>,
}

/// An id for a new contact, which nobody else has: 122 random bits.
///
/// # Errors
/// [`ManageError::Randomness`].
pub fn new_contact_id() -> Result<ContactId, ManageError> {
    random_id().map(|id| ContactId::new(format!("con-{id}")))
}

/// An id for a new account, likewise.
///
/// # Errors
/// [`ManageError::Randomness`].
pub fn new_account_id() -> Result<AccountId, ManageError> {
    random_id().map(|id| AccountId::new(format!("acc-{id}")))
}

/// What a request was answered, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    decision_id: String,
    shown: Shown,
    #[serde(default)]
    changed: bool,
}

/// How a round ended.
enum Round {
    /// Nothing more is to be decided.
    Told(Told),
    /// The account has changed meanwhile: decided anew.
    Again,
}

impl Managing {
    /// Makes a change, if it is the actor's to make. Runs as a task of its own.
    ///
    /// # Errors
    /// [`ManageError`], when no honest answer is possible; nothing was changed then, or it was and the record of that is lost,
    /// which the same request tells.
    pub async fn write(&self, mut asked: Asked, wanted: Wanted) -> Result<Told, ManageError> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let _place = asked.place.take();
            let mut is_intended = wanted.validate_only;
            for _ in 0..ROUNDS {
                if let Round::Told(told) = this.round(&asked, &wanted, &mut is_intended).await? {
                    return Ok(told);
                }
            }
            let seen = this.directory.revision().await?;
            let actor = this.prove(&asked).await?;
            this.tell(&asked, &actor, seen, this.found(&wanted, Found::refused(Refusal::ChangedMeanwhile))).await
        });
        ended(task).await
    }

    async fn round(&self, asked: &Asked, wanted: &Wanted, is_intended: &mut bool) -> Result<Round, ManageError> {
        // 1. Who acts? Everything is read after this revision.
        let seen = self.directory.revision().await?;
        let actor = self.prove(asked).await?;
        let now = to_the_microsecond(self.clock.now());
        let tell = async |found| self.tell(asked, &actor, seen, self.found(wanted, found)).await.map(Round::Told);
        let Some(agent) = actor.agent() else { return tell(Found::of(Outcome::NotVerified)).await };

        // 2. Was this very request answered before?
        let request = request(asked, wanted, &actor);
        if let Some((key, digest)) = &request
            && let Some(kept) = self.people.find_request(key, now).await?
        {
            return tell(repeated(&kept, digest)?).await;
        }

        // 3. The rules decide.
        let bundle = self.policy.snapshot();
        let Self { cool_off, fresh_within, .. } = *self;
        let asking = Asking { bundle: &bundle, agent, now, cool_off, fresh_within };
        let facts = facts(&*self.directory, &*self.people, &wanted.wish, &asking).await?;
        let account =
            facts.account.as_ref().map(|account| account.id.clone()).or_else(|| wanted.wish.account().cloned());
        let plan = match rules::plan(&asking, &wanted.wish, facts, wanted.etag.as_deref()) {
            Ok(plan) => plan,
            Err(refusal) => return tell(Found::refused(refusal)).await,
        };

        // 4. What is intended is on disk before anything is changed.
        if !*is_intended {
            let intended = self.found(wanted, Found { is_intended: true, ..Found::of(Outcome::Done) });
            self.trail.record(self.record(asked, &actor, seen, random_id()?, &intended)).await?;
            *is_intended = true;
        }

        // 5. Write upon the state that was read, record, and answer.
        let decision_id = random_id()?;
        let Plan { changes, after } = plan;
        let (shown, changed) = (Shown::from(after), !changes.is_empty());
        let decided = Decided {
            changes,
            account: account.ok_or_else(|| ManageError::Defect("permitted, and upon no account".to_owned()))?,
            as_of: seen,
            request: request
                .as_ref()
                .map(|(key, digest)| kept(key, digest, &decision_id, &shown, changed))
                .transpose()?,
            is_rehearsal: wanted.validate_only,
        };
        let actor_of_the_log = directory::Actor::Client(asked.client.name.clone());
        match self.people.apply_if_unchanged(decided, actor_of_the_log, now).await {
            Ok(Applied::Done(revision)) => {
                let committed = (!wanted.validate_only).then_some(revision);
                let found = self.found(wanted, Found { shown, changed, committed, ..Found::of(Outcome::Done) });
                self.tell_under(decision_id, asked, &actor, seen, found).await.map(Round::Told)
            }
            Ok(Applied::ChangedMeanwhile) => Ok(Round::Again),
            Ok(Applied::Kept(kept)) => {
                let digest = request.map(|(_, digest)| digest).unwrap_or_default();
                tell(repeated(&kept, &digest)?).await
            }
            Err(DirectoryError::Invalid { field, why }) => tell(Found::refused(refusal_of(field, &why))).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What the audit says of the wish, whatever came of it.
    fn found(&self, wanted: &Wanted, found: Found) -> Found {
        let Wanted { wish, validate_only, .. } = wanted;
        let accounts: Vec<AccountId> = found.shown.accounts.iter().map(|account| account.id.clone()).collect();
        let of_contacts = found.shown.contacts.iter().map(|listed| listed.contact.account.clone());
        let accounts = super::read::named_first(wish.account().cloned(), accounts.into_iter().chain(of_contacts));
        Found {
            accounts,
            contacts: wish.contact().cloned().into_iter().collect(),
            role: wish.role(),
            fields: wish.fields(),
            is_rehearsal: *validate_only,
            ..found
        }
    }
}

/// What is read for a wish.
pub(in crate::manage) async fn facts(
    directory: &dyn Directory,
    people: &dyn PeopleStore,
    wish: &Wish,
    asking: &Asking<'_>,
) -> Result<Facts, ManageError> {
    let mut facts = Facts::default();
    if let Some(contact) = wish.contact()
        && let Some(standing) = directory.find_standing(contact).await?
    {
        facts.account = Some(standing.account);
        facts.contact = Some(Listed { contact: standing.contact, roles: standing.assignments });
        // Of another account as little is asked as of one that is not there.
        let reached = facts.account.as_ref().filter(|account| asking.agent.reaches(&account.id));
        if let Some(account) = reached
            && wish.may_cost_an_admin()
        {
            let admins: Vec<_> = asking.bundle.roles_that_may(GRANTS).into_iter().collect();
            facts.another_admin = people.has_holder_besides(&account.id, &admins, contact).await?;
        }
    }
    if let Some(account) = wish.account() {
        facts.account = directory.find_account(account).await?;
    }
    Ok(facts)
}

impl From<After> for Shown {
    fn from(after: After) -> Self {
        match after {
            After::Account(account) => Self { accounts: vec![*account], contacts: Vec::new() },
            After::Contact(listed) => Self { accounts: Vec::new(), contacts: vec![*listed] },
        }
    }
}

/// The id of the request, and a digest over who asks for what: an answer is told again to who had it before, and to nobody else.
/// `None`: it has no id, or writes nothing.
fn request(asked: &Asked, wanted: &Wanted, actor: &Actor) -> Option<(RequestKey, String)> {
    if asked.request_id.is_empty() || wanted.validate_only {
        return None;
    }
    let who = match (&asked.by, actor.agent()?.contact()) {
        (By::Person(_), Some(contact)) => format!("contact {contact}"),
        (By::System(name), _) => format!("system {name}"),
        (By::Person(_), None) => return None,
    };
    let mut digest = Sha256::new();
    for part in [asked.rpc.name().as_bytes(), who.as_bytes(), &wanted.content] {
        digest.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        digest.update(part);
    }
    let key = RequestKey { client: asked.client.name.clone(), id: asked.request_id.clone() };
    Some((key, data_encoding::HEXLOWER.encode(&digest.finalize())))
}

fn kept(
    key: &RequestKey,
    digest: &str,
    decision_id: &str,
    shown: &Shown,
    changed: bool,
) -> Result<KeptRequest, ManageError> {
    let kept = Kept { decision_id: decision_id.to_owned(), shown: shown.clone(), changed };
    let answer = serde_json::to_string(&kept).map_err(|error| ManageError::Defect(error.to_string()))?;
    Ok(KeptRequest { key: key.clone(), digest: digest.to_owned(), answer })
}

/// The answer of before; another request under its id is none of it.
fn repeated(kept: &KeptRequest, digest: &str) -> Result<Found, ManageError> {
    if kept.digest != digest {
        return Err(ManageError::OtherRequest);
    }
    let Kept { decision_id, shown, changed } =
        serde_json::from_str(&kept.answer).map_err(|error| ManageError::Defect(error.to_string()))?;
    Ok(Found { repeats: Some(decision_id), shown, changed, ..Found::of(Outcome::Done) })
}

/// What the store refuses although the rules do not: what only it can see.
fn refusal_of(field: &'static str, why: &str) -> Refusal {
    match why {
        shape::TAKEN => Refusal::Conflict(field),
        shape::IN_USE => Refusal::Conflict("site_id"),
        _ => Refusal::Invalid(field),
    }
}

/// An account that changes so often under one's hands is somebody's script; whoever asked may ask again.
const ROUNDS: usize = 5;
