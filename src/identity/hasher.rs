//! Argon2id on a bounded pool of own threads.
//!
//! In two steps, so that nobody is charged who is not hashed: [`Hasher::admit`] gives a permit only if the hash will be
//! done in time; then the attempt is charged; then the permit moves into the work. Whoever cancels the call keeps the
//! place taken until the hash is done (A35). The threads run at lower priority than I/O, each with one buffer that it
//! reuses while passphrases come, and gives back, wiped, when none came for a while. Knows no store and no budget.
//!
//! What is hashed is a digest of the canonical form under a pepper (N5); the pool never sees a passphrase.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{
    Method, canonical,
    keys::{KeyRing, Purpose},
    passphrase::Passphrase,
};
use crate::directory::{ContactId, credential::CredentialVersion};

mod admission;
mod cost;
mod memory;
mod stored;

pub use admission::{Patience, Shed};
pub use cost::{Cost, CostFault, MAX_MEMORY_KIB, MAX_PASSES};
pub use stored::{HashFault, StoredHash};

use admission::Admission;
use memory::Memory;
use stored::{Output, Salt};

/// How the pool is set up.
#[derive(Clone, Copy, Debug)]
pub struct PoolSize {
    /// Threads; each needs the memory of one hash.
    pub workers: NonZeroU32,
    /// Permits beyond those that are being worked on; more are refused.
    pub waiting: u32,
    /// A thread without work for this long gives its memory back. The next hash then takes some 5 ms more.
    pub release_after: Duration,
}

/// The pool. Dropping it finishes what was begun and ends its threads.
pub struct Hasher {
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
}

/// What the pool has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Passphrases run against a stored hash.
    pub verified: u64,
    /// Passphrases run against the decoy.
    pub decoys: u64,
    /// New hashes made.
    pub made: u64,
    /// Permits refused.
    pub shed: u64,
}

/// The pool could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No randomness from the operating system.
    #[error("the operating system gives no randomness")]
    NoRandomness(#[from] getrandom::Error),
    /// No thread from the operating system.
    #[error("a hashing thread cannot be started")]
    NoThread(#[source] std::io::Error),
}

/// A hash that was begun did not end: no answer about the passphrase exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash was begun and did not end")]
pub struct HashLost;

impl Hasher {
    /// Starts the threads. They take memory when the first passphrase comes, and learn by it how long a hash takes; until
    /// then a generous guess decides who is admitted.
    ///
    /// # Errors
    /// When the operating system gives no thread or no randomness.
    pub fn start(size: PoolSize, cost: Cost, keys: Arc<KeyRing>) -> Result<Self, StartError> {
        let decoy = Decoy { salt: drawn()?, output: drawn()? };
        let queue = Queue {
            jobs: VecDeque::new(),
            admission: Admission::new(size.workers.get(), size.waiting, cost.guessed_time()),
            closing: false,
        };
        let pool = Arc::new(Pool {
            cost,
            keys,
            decoy,
            release_after: size.release_after,
            queue: Mutex::new(queue),
            work: Condvar::new(),
            counts: AtomicCounts::default(),
        });
        let mut hasher = Self { pool, threads: Vec::new() };
        for number in 0..size.workers.get() {
            let pool = Arc::clone(&hasher.pool);
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            let thread = thread.spawn(move || {
                lower_priority();
                pool.serve(&mut Memory::default());
            });
            hasher.threads.push(thread.map_err(StartError::NoThread)?);
        }
        Ok(hasher)
    }

    /// A permit for one hash, if it will be done in time behind all that have one. Charges nothing and waits for nothing.
    ///
    /// # Errors
    /// [`Shed`], when it would not.
    pub fn admit(&self, patience: Patience) -> Result<HashPermit, Shed> {
        self.admitted(patience, 1).map(|()| HashPermit { pool: Arc::clone(&self.pool) })
    }

    /// Permits for so many hashes, if all of them will be done in time; else none.
    ///
    /// # Errors
    /// As [`Hasher::admit`].
    pub fn admit_all(&self, patience: Patience, hashes: u32) -> Result<Vec<HashPermit>, Shed> {
        self.admitted(patience, hashes)?;
        Ok((0..hashes).map(|_| HashPermit { pool: Arc::clone(&self.pool) }).collect())
    }

    fn admitted(&self, patience: Patience, hashes: u32) -> Result<(), Shed> {
        let admitted = self.pool.lock().admission.admit(patience, hashes);
        match admitted {
            Ok(()) => Ok(()),
            Err(shed) => {
                self.pool.counts.shed.fetch_add(1, Ordering::Relaxed);
                Err(shed)
            }
        }
    }

    /// Reads a stored hash and checks that this pool may and can run it, before anything is charged.
    ///
    /// # Errors
    /// When it is malformed, costs less or more than may be run, or was made with a pepper or form that is not known.
    pub fn read(&self, phc: &str) -> Result<StoredHash, HashFault> {
        let stored = StoredHash::parse(phc, self.pool.cost)?;
        match self.pool.keys.find(Purpose::Pepper, stored.pepper()) {
            Some(_) => Ok(stored),
            None => Err(HashFault::UnknownPepper(stored.pepper().clone())),
        }
    }

    /// What the pool has done.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let counts = &self.pool.counts;
        Counts {
            verified: counts.verified.load(Ordering::Relaxed),
            decoys: counts.decoys.load(Ordering::Relaxed),
            made: counts.made.load(Ordering::Relaxed),
            shed: counts.shed.load(Ordering::Relaxed),
        }
    }

    /// How long a hash takes, as measured; before the first, as guessed.
    #[must_use]
    pub fn hash_time(&self) -> Duration {
        self.pool.lock().admission.hash_time()
    }

    /// Permits that are held or worked on.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.pool.lock().admission.outstanding()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.pool.lock().closing = true;
        self.pool.work.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to finish.
            thread.join().ok();
        }
    }
}

/// What a passphrase is run against.
pub enum Against<'a> {
    /// A credential, as the reservation of the attempt returned it.
    Stored {
        /// Whom the credential verifies.
        owner: &'a ContactId,
        /// Its version at the reservation.
        version: CredentialVersion,
        /// Its hash.
        hash: &'a StoredHash,
    },
    /// Nobody: a hash of the same cost that never matches.
    Decoy,
}

/// What came of a hash.
#[must_use]
pub enum Verdict {
    /// The passphrase is that of the credential.
    Matches(Match),
    /// It is not.
    Differs,
}

/// A passphrase that matched a stored hash. Made only here.
#[derive(Debug)]
pub struct Match {
    owner: ContactId,
    version: CredentialVersion,
    method: Method,
    needs_rehash: bool,
}

impl Match {
    /// Whether cost, pepper or form have changed since the hash was made: make a new one, and store it if the version is
    /// still the same.
    #[must_use]
    pub fn needs_rehash(&self) -> bool {
        self.needs_rehash
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    pub(super) fn into_owner(self) -> (ContactId, CredentialVersion) {
        (self.owner, self.version)
    }
}

/// Leave to run one hash. It takes a place from [`Hasher::admit`] until it is dropped or its hash is done.
#[must_use]
pub struct HashPermit {
    pool: Arc<Pool>,
}

impl HashPermit {
    /// Runs the passphrase against a credential or the decoy.
    pub fn verify(self, passphrase: &Passphrase, against: Against<'_>) -> Pending<Verdict> {
        let pool = Arc::clone(&self.pool);
        match against {
            Against::Stored { owner, version, hash } => {
                // `read` has found this pepper, and keys do not change while the pool runs. Another pool's hash differs.
                let pepper = pool.keys.find(Purpose::Pepper, hash.pepper());
                let input = passphrase.keyed(pepper.unwrap_or_else(|| pool.keys.active(Purpose::Pepper)), hash.form());
                // A pepper that is staged here is active elsewhere: its hashes are the newest there are.
                let is_staged = pool.keys.is_staged(Purpose::Pepper, hash.pepper());
                let newest = if is_staged { hash.pepper() } else { pool.keys.active(Purpose::Pepper).id() };
                let needs_rehash = hash.is_outdated(pool.cost, newest);
                let method = passphrase.method();
                let matched = Match { owner: owner.clone(), version, method, needs_rehash };
                let expected = Zeroizing::new(*hash.output());
                self.run(&pool.counts.verified, hash.cost(), input, *hash.salt(), move |output| {
                    if bool::from(output.ct_eq(expected.as_slice())) {
                        Verdict::Matches(matched)
                    } else {
                        Verdict::Differs
                    }
                })
            }
            Against::Decoy => {
                let input = passphrase.keyed(pool.keys.active(Purpose::Pepper), canonical::VERSION);
                let expected = pool.decoy.output;
                self.run(&pool.counts.decoys, pool.cost, input, pool.decoy.salt, move |output| {
                    // Compared as the real one is, to take the same time; whatever comes of it, nobody is verified.
                    let _ignored = std::hint::black_box(output.ct_eq(expected.as_slice()));
                    Verdict::Differs
                })
            }
        }
    }

    /// Makes a new hash, at the pool's cost, with the active pepper and a new salt.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn hash(self, passphrase: &Passphrase) -> Result<Pending<StoredHash>, getrandom::Error> {
        self.hash_in(passphrase, canonical::VERSION)
    }

    fn hash_in(self, passphrase: &Passphrase, form: u32) -> Result<Pending<StoredHash>, getrandom::Error> {
        let pool = Arc::clone(&self.pool);
        let salt: Salt = drawn()?;
        let pepper = pool.keys.active(Purpose::Pepper);
        let (cost, id) = (pool.cost, pepper.id().clone());
        Ok(self.run(&pool.counts.made, cost, passphrase.keyed(pepper, form), salt, move |output| {
            StoredHash::new(cost, id, form, salt, *output)
        }))
    }

    fn run<T: Send + 'static>(
        self,
        count: &AtomicU64,
        cost: Cost,
        input: Zeroizing<[u8; 32]>,
        salt: Salt,
        conclude: impl FnOnce(&Output) -> T + Send + 'static,
    ) -> Pending<T> {
        count.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        let pool = Arc::clone(&self.pool);
        let conclude = Box::new(move |output: &Output| {
            // Whoever asked may have gone; the hash was run all the same.
            tell.send(conclude(output)).ok();
        });
        pool.lock().jobs.push_back(Job { permit: self, cost, input, salt, conclude });
        pool.work.notify_one();
        Pending { told }
    }
}

impl Drop for HashPermit {
    fn drop(&mut self) {
        self.pool.lock().admission.release();
    }
}

/// A hash that was begun. Dropping this does not stop it.
#[must_use]
pub struct Pending<T> {
    told: oneshot::Receiver<T>,
}

impl<T> Pending<T> {
    /// Waits for the end. Cancel safe: the hash ends without us.
    ///
    /// # Errors
    /// [`HashLost`], when it did not end, for want of memory.
    pub async fn done(self) -> Result<T, HashLost> {
        self.told.await.map_err(|_| HashLost)
    }

    /// As [`Pending::done`], on a thread that may block; never on one that runs async work.
    ///
    /// # Errors
    /// As [`Pending::done`].
    pub fn wait(self) -> Result<T, HashLost> {
        self.told.blocking_recv().map_err(|_| HashLost)
    }
}

struct Pool {
    cost: Cost,
    keys: Arc<KeyRing>,
    decoy: Decoy,
    release_after: Duration,
    queue: Mutex<Queue>,
    work: Condvar,
    counts: AtomicCounts,
}

struct Decoy {
    salt: Salt,
    output: Output,
}

#[derive(Default)]
struct AtomicCounts {
    verified: AtomicU64,
    decoys: AtomicU64,
    made: AtomicU64,
    shed: AtomicU64,
}

struct Queue {
    jobs: VecDeque<Job>,
    admission: Admission,
    closing: bool,
}

struct Job {
    permit: HashPermit,
    cost: Cost,
    input: Zeroizing<[u8; 32]>,
    salt: Salt,
    conclude: Box<dyn FnOnce(&Output) + Send>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, memory: &mut Memory) {
        while let Some(Job { permit, cost, input, salt, conclude }) = self.next_job(memory) {
            let begun = Instant::now();
            // A worker outlives whatever goes wrong in one hash.
            let output = catch_unwind(AssertUnwindSafe(|| memory.hash(cost, input.as_slice(), &salt))).ok().flatten();
            self.lock().admission.measured(begun.elapsed());
            drop(permit);
            if let Some(output) = output {
                conclude(&output);
            }
        }
    }

    /// The next job; `None` once the pool is closing and nothing is left. Memory is not held for one that does not come.
    fn next_job(&self, memory: &mut Memory) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closing {
                return None;
            }
            if memory.is_held() {
                let waited = self.work.wait_timeout(queue, self.release_after).unwrap_or_else(PoisonError::into_inner);
                queue = waited.0;
                if waited.1.timed_out() && queue.jobs.is_empty() {
                    drop(queue);
                    memory.release();
                    queue = self.lock();
                }
            } else {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn drawn<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

/// Answers matter more than hashes: I/O runs first. Best effort; on Linux the priority is the thread's own.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE).ok();
}

/// How nice a hashing thread is (0 is everybody's default, 19 the nicest).
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

#[cfg(test)]
mod tests;
