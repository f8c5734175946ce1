//! The role cache: a directory before the directory. It keeps in memory how people stand and which interactions are open,
//! asks a cache that the fleet shares if there is one, and then the store.
//!
//! Correctness rests on the change log alone ([`Tail`]): whatever is older than the newest change of its account is not
//! used, and nothing is used beyond the hard TTL. Never kept: a decision, a hash, a count, "passphrase right", and that
//! somebody does not exist. What a passphrase is tried with is always read from the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Account, AccountId, AccountSelector, Actor, Behind, Change, ContactId, ContactSelector, Delivery, Directory,
    DirectoryError, EndOutcome, Freshness, InteractionState, Listed, LoggedChange, Look, NewDelivery, OpenOutcome,
    Revision, Seen, Selection, Standing, SubjectHints,
    import::{Finding, Imported, Row, Terms},
    look::Whose,
    tail::{HARD_TTL, STALE_AFTER, Tail},
};
use crate::{
    clock::Clock,
    escalation::{NewEscalation, PendingLimits},
    interaction::InteractionKey,
};

mod flight;
pub mod redis;
mod shelf;

use flight::{Flights, Turn};
use shelf::{Held, Shelf};

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// At most so many people, and twice as many interactions, are kept in memory. 0: nothing is kept anywhere.
    pub entries: usize,
    /// After this an entry in memory is loaded anew; while the store cannot be asked it serves on, up to the hard TTL.
    pub ttl: Duration,
}

impl Default for CacheSettings {
    /// 10,000 people, of some 2 KiB each, for 5 seconds.
    fn default() -> Self {
        Self { entries: 10_000, ttl: Duration::from_secs(5) }
    }
}

/// How somebody stood, in a cache that the fleet shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEntry {
    /// As it was loaded, with the revision of that snapshot.
    pub standing: Standing,
    /// When it counts no more, in the store's time.
    pub expires: Timestamp,
}

/// What a cache that the fleet shares has of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An entry that is authentic, and of this very contact. It may be outdated.
    Entry(Box<SharedEntry>),
    /// An entry that is not: edited, put under another's name, or sealed with a key that is not known here.
    Forged,
    /// None, or no answer soon.
    Nothing,
}

/// A cache that the fleet shares. Nothing in it is trusted but what is proved authentic, and even that may be outdated.
#[async_trait]
pub trait SharedRoles: Send + Sync + 'static {
    /// The entry of this very contact.
    async fn find(&self, contact: &ContactId) -> Found;

    /// Offers an entry, which never takes the place of one with a newer revision. What comes of it does not matter.
    async fn offer(&self, entry: SharedEntry);
}

/// From where looks were answered, since the start.
#[derive(Debug, Default)]
pub struct CacheCounts {
    /// From memory alone.
    pub memory: AtomicU64,
    /// With the help of the shared cache.
    pub shared: AtomicU64,
    /// Entries of the shared cache that are not authentic.
    pub forged: AtomicU64,
    /// Entries of the shared cache that are authentic, and older than the newest change or beyond their time.
    pub outdated: AtomicU64,
    /// From the store, since nothing usable was kept.
    pub store: AtomicU64,
    /// From the store, since the question allows nothing else.
    pub bypassed: AtomicU64,
    /// From memory beyond its TTL, since the store could not be asked.
    pub held_over: AtomicU64,
}

/// A directory with a cache before it.
pub struct CachedDirectory {
    store: Arc<dyn Directory>,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
    settings: CacheSettings,
    shared: Option<Arc<dyn SharedRoles>>,
    people: Shelf<ContactId, Standing>,
    interactions: Shelf<InteractionKey, InteractionState>,
    flights: Flights<ContactId>,
    counts: Arc<CacheCounts>,
}

impl CachedDirectory {
    /// A cache before `store`, whose changes `tail` knows.
    #[must_use]
    pub fn new(
        store: Arc<dyn Directory>,
        tail: Arc<Tail>,
        clock: Arc<dyn Clock>,
        settings: CacheSettings,
        shared: Option<Arc<dyn SharedRoles>>,
    ) -> Self {
        Self {
            store,
            tail,
            clock,
            people: Shelf::holding(settings.entries),
            interactions: Shelf::holding(settings.entries.saturating_mul(2)),
            settings,
            shared,
            flights: Flights::default(),
            counts: Arc::default(),
        }
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<CacheCounts> {
        Arc::clone(&self.counts)
    }
}

/// What a look wants that can be kept: one person, named by id, and an interaction.
struct Wanted<'a> {
    look: &'a Look,
    contact: &'a ContactId,
}

impl<'a> Wanted<'a> {
    /// `None`: the look asks for what is never kept, or names nobody by id.
    fn of(look: &'a Look) -> Option<Self> {
        let SubjectHints { account, contact } = &look.subject;
        let by_id = matches!(account, None | Some(AccountSelector::Id(_)))
            && matches!(contact, None | Some(ContactSelector::Id(_)));
        if !by_id || look.attempt.is_some() || look.freshness == Freshness::FromStore {
            return None;
        }
        match (&look.whose, account, contact) {
            (Whose::Contact(contact), ..) => Some(Self { look, contact }),
            (Whose::Selected, Some(_), Some(ContactSelector::Id(contact))) => Some(Self { look, contact }),
            (Whose::Selected | Whose::Nobody, ..) => None,
        }
    }

    /// Whom the words select, as this person's standing tells; `None`: the store must say.
    fn selection(&self, standing: &Standing) -> Option<Selection> {
        let SubjectHints { account, contact } = &self.look.subject;
        let account = match account {
            None if contact.is_none() => None,
            Some(AccountSelector::Id(id)) if *id == standing.account.id => Some(id.clone()),
            _ => return None,
        };
        let contact = match contact {
            None => None,
            Some(ContactSelector::Id(id)) if *id == standing.contact.id => Some(id.clone()),
            Some(_) => return None,
        };
        Some(Selection { account, contact })
    }

    fn seen(&self, standing: Arc<Standing>, interaction: Option<Arc<InteractionState>>) -> Option<Seen> {
        if self.look.interaction.is_some() && interaction.is_none() {
            return None;
        }
        Some(Seen {
            selection: self.selection(&standing)?,
            standing: Some(standing),
            interaction: interaction.map(|state| (*state).clone()),
            ..Seen::default()
        })
    }
}

/// How an entry in memory may be used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    /// As if it had just been loaded.
    Young,
    /// Only while the store cannot be asked.
    Old,
}

impl CachedDirectory {
    async fn look_through(&self, wanted: Wanted<'_>) -> Result<Seen, DirectoryError> {
        if let Some(seen) = self.in_memory(&wanted, Age::Young) {
            count(&self.counts.memory);
            return Ok(seen);
        }
        let loaded = match self.flights.board(wanted.contact) {
            Turn::Lead(flight) => {
                let loaded = self.load(&wanted).await;
                flight.land(loaded.as_ref().err());
                loaded
            }
            Turn::Follow(landing) => match landing.await {
                Some(error) => Err(error),
                // The other look was for the same person; the interaction may be another.
                None => self.load(&wanted).await,
            },
        };
        match loaded {
            Err(DirectoryError::Unavailable(why)) => match self.in_memory(&wanted, Age::Old) {
                Some(seen) => {
                    count(&self.counts.held_over);
                    Ok(seen)
                }
                None => Err(DirectoryError::Unavailable(why)),
            },
            loaded => loaded,
        }
    }

    /// From the shared cache as far as that goes, and from the store.
    async fn load(&self, wanted: &Wanted<'_>) -> Result<Seen, DirectoryError> {
        if self.person(wanted, Age::Young).is_none() {
            self.fetch_shared(wanted).await;
        }
        if let Some(seen) = self.in_memory(wanted, Age::Young) {
            return Ok(seen);
        }
        if let Some(standing) = self.person(wanted, Age::Young)
            && let Some(selection) = wanted.selection(&standing)
        {
            let rest = Look { subject: SubjectHints::default(), whose: Whose::Nobody, ..wanted.look.clone() };
            let interaction = self.look_at_store(&rest).await?.interaction;
            return Ok(Seen { selection, standing: Some(standing), interaction, ..Seen::default() });
        }
        count(&self.counts.store);
        self.look_at_store(wanted.look).await
    }

    /// Asks the store, and keeps what it says.
    async fn look_at_store(&self, look: &Look) -> Result<Seen, DirectoryError> {
        // What the tail knew before is what the snapshot holds at least.
        let (known, asked) = (self.tail.newest(), self.clock.uptime());
        let seen = self.store.look(look).await?;
        if let Some(standing) = &seen.standing {
            self.keep_person(standing, asked);
        }
        if let (Some(key), Some(state)) = (&look.interaction, &seen.interaction) {
            self.keep_interaction(key, state, known, asked);
        }
        Ok(seen)
    }

    fn keep_person(&self, standing: &Arc<Standing>, loaded_at: Duration) {
        let expires = loaded_at.saturating_add(HARD_TTL);
        let held = Held { value: Arc::clone(standing), revision: standing.revision, loaded_at, expires };
        if self.tail.account_changed_after(&standing.account.id, standing.revision) {
            return;
        }
        self.people.put(&standing.contact.id, held);
        if let Some(shared) = self.shared.clone() {
            let store_time = self.tail.store_time(self.clock.now());
            let Ok(expires) = store_time.checked_add(HARD_TTL) else { return };
            let entry = SharedEntry { standing: (**standing).clone(), expires };
            tokio::spawn(async move { shared.offer(entry).await });
        }
    }

    fn keep_interaction(&self, key: &InteractionKey, state: &InteractionState, revision: Revision, at: Duration) {
        if state.ended_at.is_none() {
            let expires = at.saturating_add(HARD_TTL);
            self.interactions.put(key, Held { value: Arc::new(state.clone()), revision, loaded_at: at, expires });
        }
    }

    /// Takes over what others have loaded, if it is authentic, of this very person, and known to be current.
    async fn fetch_shared(&self, wanted: &Wanted<'_>) {
        let Some(shared) = &self.shared else { return };
        let asked = self.clock.uptime();
        if self.tail.lag(asked) > STALE_AFTER {
            return;
        }
        let SharedEntry { standing, expires } = match shared.find(wanted.contact).await {
            Found::Entry(entry) => *entry,
            Found::Forged => return count(&self.counts.forged),
            Found::Nothing => return,
        };
        let life = expires.duration_since(self.tail.store_time(self.clock.now()));
        let life = Duration::try_from(life).ok().filter(|life| *life <= HARD_TTL);
        let (Some(life), true) = (life, standing.contact.id == *wanted.contact) else {
            return count(&self.counts.outdated);
        };
        let (revision, expires) = (standing.revision, asked.saturating_add(life));
        let held = Held { value: Arc::new(standing), revision, loaded_at: asked, expires };
        if self.is_usable(&held, wanted.look, asked, Age::Young)
            && !self.tail.account_changed_after(&held.value.account.id, revision)
        {
            count(&self.counts.shared);
            self.people.put(wanted.contact, held);
        } else {
            count(&self.counts.outdated);
        }
    }

    fn in_memory(&self, wanted: &Wanted<'_>, age: Age) -> Option<Seen> {
        let interaction = match &wanted.look.interaction {
            Some(key) => Some(self.interaction(key, wanted.look, age)?),
            None => None,
        };
        wanted.seen(self.person(wanted, age)?, interaction)
    }

    fn person(&self, wanted: &Wanted<'_>, age: Age) -> Option<Arc<Standing>> {
        let held = self.people.find(wanted.contact)?;
        let current = self.is_usable(&held, wanted.look, self.clock.uptime(), age)
            && !self.tail.account_changed_after(&held.value.account.id, held.revision);
        current.then_some(held.value)
    }

    fn interaction(&self, key: &InteractionKey, look: &Look, age: Age) -> Option<Arc<InteractionState>> {
        let held = self.interactions.find(key)?;
        let open = !held.value.is_over(look.now) && !self.tail.interaction_ended_after(key, held.revision);
        // An interaction has no revision that a caller could ask for.
        let newest = Held { revision: Revision(u64::MAX), ..held.clone() };
        (open && self.is_usable(&newest, look, self.clock.uptime(), age)).then_some(held.value)
    }

    fn is_usable<T>(&self, held: &Held<T>, look: &Look, uptime: Duration, age: Age) -> bool {
        let fresh_enough = match look.freshness {
            Freshness::Cached => true,
            Freshness::Current => self.tail.is_exact(),
            Freshness::AtLeast(revision) => held.revision >= revision,
            Freshness::FromStore => false,
        };
        let young = uptime.saturating_sub(held.loaded_at) < self.settings.ttl;
        fresh_enough && uptime < held.expires && (young || age == Age::Old)
    }
}

#[async_trait]
impl Directory for CachedDirectory {
    async fn look(&self, look: &Look) -> Result<Seen, DirectoryError> {
        if look.is_empty() {
            return Ok(Seen::default());
        }
        match Wanted::of(look).filter(|_| self.settings.entries > 0) {
            Some(wanted) => self.look_through(wanted).await,
            None => {
                count(&self.counts.bypassed);
                self.store.look(look).await
            }
        }
    }

    async fn open_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        now: Timestamp,
    ) -> Result<InteractionState, DirectoryError> {
        let (known, asked) = (self.tail.newest(), self.clock.uptime());
        let state = self.store.open_interaction(key, client, now).await?;
        self.keep_interaction(key, &state, known, asked);
        Ok(state)
    }

    async fn find_standing(&self, contact: &ContactId) -> Result<Option<Standing>, DirectoryError> {
        self.store.find_standing(contact).await
    }

    async fn find_account(&self, account: &AccountId) -> Result<Option<Account>, DirectoryError> {
        self.store.find_account(account).await
    }

    async fn list_accounts(&self, after: Option<&AccountId>, limit: u32) -> Result<Vec<Account>, DirectoryError> {
        self.store.list_accounts(after, limit).await
    }

    async fn list_contacts(
        &self,
        account: Option<&AccountId>,
        after: Option<&ContactId>,
        limit: u32,
    ) -> Result<Vec<Listed>, DirectoryError> {
        self.store.list_contacts(account, after, limit).await
    }

    async fn apply(&self, changes: Vec<Change>, actor: Actor, now: Timestamp) -> Result<Revision, DirectoryError> {
        self.store.apply(changes, actor, now).await
    }

    async fn check_import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        now: Timestamp,
    ) -> Result<Vec<Finding>, DirectoryError> {
        self.store.check_import(rows, terms, now).await
    }

    async fn import(
        &self,
        rows: Vec<Row>,
        terms: &Terms,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Imported, DirectoryError> {
        self.store.import(rows, terms, actor, now).await
    }

    async fn forget_import(&self, import: &str, now: Timestamp) -> Result<(), DirectoryError> {
        self.store.forget_import(import, now).await
    }

    async fn time(&self, now: Timestamp) -> Result<Timestamp, DirectoryError> {
        self.store.time(now).await
    }

    async fn revision(&self) -> Result<Revision, DirectoryError> {
        self.store.revision().await
    }

    async fn changes_after(&self, after: Revision, limit: u32) -> Result<Vec<LoggedChange>, DirectoryError> {
        self.store.changes_after(after, limit).await
    }

    async fn end_interaction(
        &self,
        key: &InteractionKey,
        client: &str,
        bearer: bool,
        now: Timestamp,
    ) -> Result<EndOutcome, DirectoryError> {
        let outcome = self.store.end_interaction(key, client, bearer, now).await?;
        // Others learn it from the log; here it is over for the very next call.
        self.interactions.forget(key);
        self.tail.hint();
        Ok(outcome)
    }

    async fn open_escalation(&self, new: NewEscalation, limits: PendingLimits) -> Result<OpenOutcome, DirectoryError> {
        self.store.open_escalation(new, limits).await
    }

    async fn open_delivery(&self, new: NewDelivery, per_account: u32) -> Result<Behind, DirectoryError> {
        self.store.open_delivery(new, per_account).await
    }

    async fn find_delivery(&self, id: &str, now: Timestamp) -> Result<Option<Delivery>, DirectoryError> {
        self.store.find_delivery(id, now).await
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
