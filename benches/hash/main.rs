//! What a verification costs: `make bench`.
//!
//! The pool beside the same number of bare threads that hash with the same library, and a hash beside the C library of
//! Debian. In turn, medians of interleaved rounds. Figures are ratios, since machines are noisy.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and speaks to people"
)]

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Block, ParamsBuilder, Version};
use countersign::identity::{
    hasher::{Against, Cost, Hasher, Patience, PoolSize},
    keys::KeyRing,
    passphrase::Passphrase,
};

const ROUNDS: usize = 7;
/// Hashes of each thread in one measurement.
const HASHES: u32 = 40;

fn main() {
    let reference = compile_reference();
    println!(
        "\nArgon2id, {} KiB, {} passes; medians of {ROUNDS} rounds\n",
        Cost::OWASP.memory_kib(),
        Cost::OWASP.passes()
    );
    println!("| threads | pool, verifications/s | bare threads, hashes/s | ratio |");
    println!("|---|---|---|---|");
    let mut ms_per_hash = 0.0;
    for workers in [1, 2] {
        let pool = Pool::start(workers);
        let (mut pooled, mut bare) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let figures = (pool.per_second(), bare_per_second(workers));
            // The first round warms up.
            if round > 0 {
                pooled.push(figures.0);
                bare.push(figures.1);
            }
        }
        let (pooled, bare) = (median(pooled), median(bare));
        println!("| {workers} | {pooled:.1} | {bare:.1} | {:.3} |", pooled / bare);
        if workers == 1 {
            ms_per_hash = 1000.0 / pooled;
        }
    }
    match reference {
        Some(reference) => {
            let c = median((0..ROUNDS).map(|_| reference_ms(&reference)).collect());
            println!("\none verification {ms_per_hash:.1} ms, the C library {c:.1} ms: ratio {:.2}", ms_per_hash / c);
        }
        None => println!("\nthe C library is not compared: it needs cc and the Debian package libargon2-dev"),
    }
}

struct Pool {
    hasher: Arc<Hasher>,
    workers: u32,
}

impl Pool {
    fn start(workers: u32) -> Self {
        let workers_of_it = NonZeroU32::new(workers).unwrap();
        let size = PoolSize { workers: workers_of_it, waiting: 2 * workers, release_after: Duration::from_secs(60) };
        let keys = Arc::new(KeyRing::ephemeral().unwrap());
        Self { hasher: Arc::new(Hasher::start(size, Cost::OWASP, keys).unwrap()), workers }
    }

    /// Keeps a hash waiting behind each that runs, as a busy sidecar does.
    fn per_second(&self) -> f64 {
        let callers = 2 * self.workers;
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..callers {
                scope.spawn(|| {
                    let passphrase = Passphrase::new("violet anchor sleeping harbor tune".to_owned()).unwrap();
                    for _ in 0..HASHES / 2 {
                        let permit = self.hasher.admit(Patience::default()).unwrap();
                        let _differs = permit.verify(&passphrase, Against::Decoy).wait().unwrap();
                    }
                });
            }
        });
        f64::from(callers * (HASHES / 2)) / begun.elapsed().as_secs_f64()
    }
}

/// Threads that do nothing but hash, each with a buffer of its own.
fn bare_per_second(threads: u32) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut params = ParamsBuilder::new();
                params.m_cost(Cost::OWASP.memory_kib()).t_cost(Cost::OWASP.passes()).p_cost(1).output_len(32);
                let params = params.build().unwrap();
                let mut blocks = vec![Block::new(); params.block_count()];
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let mut output = [0_u8; 32];
                for _ in 0..HASHES {
                    let input = output;
                    argon2.hash_password_into_with_memory(&input, &[2; 16], &mut output, &mut blocks).unwrap();
                }
                assert_ne!(output, [0; 32]);
            });
        }
    });
    f64::from(threads * HASHES) / begun.elapsed().as_secs_f64()
}

/// Compiles the driver of the C library; `None` when compiler or library is missing.
fn compile_reference() -> Option<PathBuf> {
    let driver = Path::new(env!("CARGO_TARGET_TMPDIR")).join("argon2-reference");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/hash/reference.c");
    let compiled = Command::new("cc").args(["-O2", "-o"]).arg(&driver).arg(source).arg("-largon2").output().ok()?;
    compiled.status.success().then_some(driver)
}

fn reference_ms(driver: &Path) -> f64 {
    let (memory, passes) = (Cost::OWASP.memory_kib().to_string(), Cost::OWASP.passes().to_string());
    let output = Command::new(driver).args([&HASHES.to_string(), &memory, &passes]).output().unwrap();
    let nanos: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    Duration::from_nanos(nanos).as_secs_f64() * 1000.0 / f64::from(HASHES)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
