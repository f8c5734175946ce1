//! A store whose looks are counted, can fail, and can be held up between loading and answering.

use super::*;
use countersign::{
    directory::{
        Account, Behind, Delivery, EndOutcome, InteractionState, Listed, LoggedChange, NewDelivery, OpenOutcome,
        Standing,
        import::{Finding, Imported, Row, Terms},
    },
    escalation::{NewEscalation, PendingLimits},
};

pub(super) struct WatchedStore {
    store: Store,
    looks: AtomicU32,
    readings: AtomicU32,
    fails: AtomicBool,
    held: AtomicBool,
    loaded: Semaphore,
    go: Semaphore,
}

impl WatchedStore {
    pub(super) fn new(store: Store) -> Self {
        let (looks, readings, fails, held) = Default::default();
        Self { store, looks, readings, fails, held, loaded: Semaphore::new(0), go: Semaphore::new(0) }
    }

    pub(super) fn looks(&self) -> u32 {
        self.looks.load(Ordering::SeqCst)
    }

    /// How often the change log was read.
    pub(super) fn readings(&self) -> u32 {
        self.readings.load(Ordering::SeqCst)
    }

    pub(super) fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    /// From now on what was loaded is not answered yet.
    pub(super) fn hold_answers(&self) {
        self.held.store(true, Ordering::SeqCst);
    }

    /// Returns once a look has loaded and is held up.
    pub(super) async fn loaded(&self) {
        self.loaded.acquire().await.unwrap().forget();
    }

    pub(super) fn let_answers_go(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.go.add_permits(1_000);
    }
}

/// What is handed on as it is.
macro_rules! handed_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)+) => {
        #[async_trait::async_trait]
        impl Directory for WatchedStore {
            async fn look(&self, look: &Look) -> Result<Seen, DirectoryError> {
                self.looks.fetch_add(1, Ordering::SeqCst);
                if self.fails.load(Ordering::SeqCst) {
                    return Err(DirectoryError::Unavailable("the test says so".into()));
                }
                let seen = self.store.look(look).await;
                if self.held.load(Ordering::SeqCst) {
                    self.loaded.add_permits(1);
                    self.go.acquire().await.unwrap().forget();
                }
                seen
            }

            async fn changes_after(&self, after: Revision, limit: u32) -> Result<Vec<LoggedChange>, DirectoryError> {
                self.readings.fetch_add(1, Ordering::SeqCst);
                self.store.changes_after(after, limit).await
            }

            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, DirectoryError> {
                self.store.$name($($argument),*).await
            })+
        }
    };
}

handed_on! {
    fn find_standing(contact: &ContactId) -> Option<Standing>;
    fn find_account(account: &AccountId) -> Option<Account>;
    fn list_accounts(after: Option<&AccountId>, limit: u32) -> Vec<Account>;
    fn list_contacts(account: Option<&AccountId>, after: Option<&ContactId>, limit: u32) -> Vec<Listed>;
    fn apply(changes: Vec<Change>, actor: Actor, now: Timestamp) -> Revision;
    fn check_import(rows: Vec<Row>, terms: &Terms, now: Timestamp) -> Vec<Finding>;
    fn import(rows: Vec<Row>, terms: &Terms, actor: Actor, now: Timestamp) -> Imported;
    fn forget_import(import: &str, now: Timestamp) -> ();
    fn revision() -> Revision;
    fn open_interaction(key: &InteractionKey, client: &str, now: Timestamp) -> InteractionState;
    fn end_interaction(key: &InteractionKey, client: &str, bearer: bool, now: Timestamp) -> EndOutcome;
    fn open_escalation(new: NewEscalation, limits: PendingLimits) -> OpenOutcome;
    fn open_delivery(new: NewDelivery, per_account: u32) -> Behind;
    fn find_delivery(id: &str, now: Timestamp) -> Option<Delivery>;
}
