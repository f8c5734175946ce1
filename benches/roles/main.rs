//! What knowing how somebody stands costs: from memory, from Redis, from the store, each beside a plain GET of the same
//! bytes on the same connection. `make bench`.
//!
//! CPU of this process, all threads, without Redis's own; interleaved rounds, medians. Figures are ratios, since machines
//! are noisy.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use countersign::{
    clock::{Clock, SystemClock},
    data_dir::DataDir,
    directory::{
        Actor, ContactId, Directory, Look, SubjectHints,
        cache::{CacheSettings, CachedDirectory, SharedEntry, SharedRoles, redis::RedisRoles},
        look::Whose,
        sample,
        sqlite::Store,
        tail::{Tail, Writers},
    },
    identity::keys::{KeyRing, RoleSeal},
    redis::{Connection, Mode, Settings, settings},
};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;

const ROUNDS: usize = 7;
const LOOKS: u32 = 4_000;
/// Calls in flight, as on a busy sidecar: commands of several share a write.
const AT_ONCE: u32 = 32;
/// What a tonic server that does nothing takes per call (docs/performance.md): the goal is a ratio of whole calls.
const TONIC_US: f64 = 8.8;
const NAMES: [&str; 4] = ["plain GET", "from memory", "from Redis", "from the store"];

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let _redis = Redis::start(folder.path());
    let (servers, database) = settings::parse(&format!("redis+unix://{}", socket(folder.path()))).unwrap();
    let timeout = Duration::from_secs(2);
    let connection = Connection::open(
        "bench",
        Settings {
            mode: Mode::Standalone,
            servers,
            database,
            login: None,
            ca_file: None,
            connect_timeout: timeout,
            response_timeout: timeout,
        },
    );
    connection.attempted().await.unwrap();

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let store = Store::open(&DataDir::own(folder.path().join("data")).unwrap()).unwrap();
    store.apply(sample::changes(clock.now()), Actor::Sidecar, clock.now()).await.unwrap();
    let (seal, names) = (RoleSeal::load(folder.path()).unwrap(), KeyRing::ephemeral().unwrap());
    let roles = Arc::new(RedisRoles::new(connection.clone(), Arc::new(seal), Arc::new(names), Arc::clone(&clock)));
    let ben = ContactId::new(sample::BEN);
    let standing = store.find_standing(&ben).await.unwrap().unwrap();
    let expires = Timestamp::now() + SignedDuration::from_secs(30);

    let tail = Arc::new(Tail::new(Writers::Ourselves));
    tail.begin(&store, &*clock).await.unwrap();
    let cached = Arc::new(CachedDirectory::new(
        Arc::new(store.clone()),
        tail,
        Arc::clone(&clock),
        CacheSettings { ttl: Duration::from_secs(30), ..CacheSettings::default() },
        None,
    ));
    let look =
        Look { whose: Whose::Contact(ben.clone()), ..Look::at_subject(SubjectHints::default(), Timestamp::now()) };
    let store = Arc::new(store);

    let mut figures: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        roles.offer(SharedEntry { standing: standing.clone(), expires }).await;
        let key = roles.key(&ben);
        figures[0].push(
            cpu_per_look(|| {
                let (connection, key) = (connection.clone(), key.clone());
                async move {
                    let mut get = redis::cmd("GET");
                    get.arg(key);
                    assert!(connection.query::<Option<Vec<u8>>>(&get).await.unwrap().is_some());
                }
            })
            .await,
        );
        figures[1].push(cpu_per_look(|| seen(Arc::clone(&cached), look.clone())).await);
        figures[2].push(
            cpu_per_look(|| {
                let (roles, ben) = (Arc::clone(&roles), ben.clone());
                async move { assert!(roles.find(&ben).await.is_some()) }
            })
            .await,
        );
        figures[3].push(cpu_per_look(|| seen(Arc::clone(&store), look.clone())).await);
    }
    let figures = figures.map(median);
    println!("\nHow somebody stands; medians of {ROUNDS} rounds, {LOOKS} looks each, {AT_ONCE} at once\n");
    println!("| | CPU µs | ÷ plain GET | (tonic + it) ÷ (tonic + GET) |\n|---|---|---|---|");
    for (name, figure) in NAMES.iter().zip(figures) {
        let whole = (TONIC_US + figure) / (TONIC_US + figures[0]);
        println!("| {name} | {figure:.1} | {:.2} | {whole:.2} |", figure / figures[0]);
    }
    println!("\nGoal: from Redis at most 1.2 in the last column.");
    store.close();
}

async fn seen<D: Directory>(directory: Arc<D>, look: Look) {
    assert!(directory.look(&look).await.unwrap().standing.is_some());
}

/// Microseconds of CPU of the whole process.
async fn cpu_per_look<F: Future<Output = ()> + Send + 'static>(look: impl Fn() -> F) -> f64 {
    let before = cpu_ns();
    for _ in 0..LOOKS / AT_ONCE {
        let looks: JoinSet<()> = (0..AT_ONCE).map(|_| look()).collect();
        looks.join_all().await;
    }
    (cpu_ns() - before) as f64 / 1e3 / f64::from(LOOKS)
}

/// What all threads of this process have run, in nanoseconds.
fn cpu_ns() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let ran = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap();
    tasks.map(|task| ran(task.unwrap()).split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A redis-server of its own, on a socket.
struct Redis(Child);

impl Redis {
    fn start(folder: &Path) -> Self {
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket", &socket(folder), "--dir"])
            .arg(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: `make install`");
        let started = std::time::Instant::now();
        while !Path::new(&socket(folder)).exists() {
            assert!(started.elapsed() < Duration::from_secs(10), "redis-server does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(server)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop((self.0.kill(), self.0.wait()));
    }
}

fn socket(folder: &Path) -> String {
    folder.join("redis.sock").display().to_string()
}
