use std::{sync::mpsc, time::Duration};

use super::*;

const NEVER: Duration = Duration::from_secs(3_600);

fn pool(workers: u32, waiting: u32) -> Hasher {
    pool_with(workers, waiting, Arc::new(KeyRing::ephemeral().unwrap()))
}

fn pool_with(workers: u32, waiting: u32, keys: Arc<KeyRing>) -> Hasher {
    let size = PoolSize { workers: NonZeroU32::new(workers).unwrap(), waiting, release_after: NEVER };
    Hasher::start(size, Cost::CHEAP_FOR_TESTS, keys).unwrap()
}

fn phrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned()).unwrap()
}

fn permit(hasher: &Hasher) -> HashPermit {
    hasher.admit(Patience::default()).unwrap()
}

fn hashed(hasher: &Hasher, text: &str) -> StoredHash {
    permit(hasher).hash(&phrase(text)).unwrap().wait().unwrap()
}

fn matches(hasher: &Hasher, text: &str, hash: &StoredHash) -> Option<Match> {
    let owner = ContactId::new("c-1");
    let against = Against::Stored { owner: &owner, version: CredentialVersion(7), hash };
    match permit(hasher).verify(&phrase(text), against).wait().unwrap() {
        Verdict::Matches(matched) => Some(matched),
        Verdict::Differs => None,
    }
}

/// Keeps every worker of the pool busy until the sender is dropped.
fn occupy(hasher: &Hasher, workers: u32) -> mpsc::SyncSender<()> {
    let (release, released) = mpsc::sync_channel::<()>(0);
    let released = Arc::new(Mutex::new(released));
    let (busy, is_busy) = mpsc::channel();
    for _ in 0..workers {
        let (released, busy) = (Arc::clone(&released), busy.clone());
        let permit = permit(hasher);
        let conclude = Box::new(move |_: &Output| {
            busy.send(()).unwrap();
            // Ends when the test drops its sender.
            released.lock().unwrap().recv().ok();
        });
        let job = Job { permit, cost: hasher.pool.cost, input: Zeroizing::new([0; 32]), salt: [0; 16], conclude };
        hasher.pool.lock().jobs.push_back(job);
        hasher.pool.work.notify_one();
    }
    for _ in 0..workers {
        is_busy.recv().unwrap();
    }
    release
}

#[test]
fn the_output_is_that_of_the_reference_implementation() {
    // proves: N4. The reference implementation's own test vectors (phc-winner-argon2, src/test.c, version 19, Argon2id).
    let mut memory = Memory::default();
    for (memory_kib, password, salt, expected) in [
        (256, "password", "somesalt", "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
        (65_536, "password", "somesalt", "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"),
        (65_536, "differentpassword", "somesalt", "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"),
    ] {
        let cost = Cost::CHEAP_FOR_TESTS.clamp(memory_kib, 2).unwrap();
        let output = memory.hash(cost, password.as_bytes(), salt.as_bytes()).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(output.as_ref()), expected);
    }
}

#[test]
fn the_right_passphrase_matches_in_any_spelling_and_no_other_does() {
    // proves: N2, A33
    let hasher = pool(1, 8);
    let stored = hashed(&hasher, "copper lantern drift meadow");
    let matched = matches(&hasher, "Copper-Lantern, drift  MEADOW!", &stored).unwrap();
    assert!(!matched.needs_rehash());
    assert_eq!(matched.into_owner(), (ContactId::new("c-1"), CredentialVersion(7)));
    for near in ["copper lantern drift meado", "copper lantern drift meadows", "lantern copper drift meadow", ""] {
        assert!(matches(&hasher, near, &stored).is_none(), "{near}");
    }
}

#[test]
fn two_hashes_of_one_passphrase_differ() {
    let hasher = pool(1, 8);
    assert_ne!(hashed(&hasher, "copper lantern").phc(), hashed(&hasher, "copper lantern").phc());
}

#[test]
fn the_decoy_never_matches_and_is_counted_apart() {
    let hasher = pool(1, 8);
    let stored = hashed(&hasher, "copper lantern");
    assert!(matches(&hasher, "copper lantern", &stored).is_some());
    for _ in 0..3 {
        let verdict = permit(&hasher).verify(&phrase("copper lantern"), Against::Decoy).wait().unwrap();
        assert!(matches!(verdict, Verdict::Differs));
    }
    assert_eq!(hasher.counts(), Counts { verified: 1, decoys: 3, made: 1, shed: 0 });
}

#[test]
fn a_stored_hash_survives_its_text() {
    let hasher = pool(1, 8);
    let stored = hashed(&hasher, "copper lantern");
    let read = hasher.read(&stored.phc()).unwrap();
    assert_eq!(read.phc(), stored.phc());
    assert!(matches(&hasher, "copper lantern", &read).is_some());
}

#[test]
fn a_stored_hash_out_of_bounds_is_refused_before_it_is_run() {
    // proves: N4
    let hasher = pool(1, 8);
    let phc = hashed(&hasher, "copper lantern").phc();
    let fault = |from: &str, to: &str| hasher.read(&phc.replace(from, to)).err();
    assert_eq!(fault("m=32", "m=4194304"), Some(HashFault::CostOutOfBounds));
    assert_eq!(fault("t=1", "t=4000000000"), Some(HashFault::CostOutOfBounds));
    assert_eq!(fault("t=1", "t=0"), Some(HashFault::CostOutOfBounds));
    assert_eq!(fault("m=32", "m=8"), Some(HashFault::CostOutOfBounds));
    assert_eq!(fault("p=1", "p=64"), Some(HashFault::CostOutOfBounds));
    assert_eq!(fault("form=2", "form=9"), Some(HashFault::UnknownForm(9)));
    for (from, to) in [
        ("argon2id", "argon2i"),
        ("v=19", "v=16"),
        ("m=32", "m=032"),
        ("m=32", "m=+32"),
        ("m=32", "m=99999999999"),
        (",p=1", ""),
        ("keyid=", "keyid=x"),
        ("form=2$", "form=2$A"),
        ("$argon2id", "argon2id"),
    ] {
        assert_eq!(fault(from, to), Some(HashFault::Malformed), "{from} {to}");
    }
    assert_eq!(hasher.read(&format!("{phc}$")).err(), Some(HashFault::Malformed));
    assert_eq!(hasher.read("").err(), Some(HashFault::Malformed));
    assert_eq!(hasher.counts().verified, 0);
}

#[test]
fn a_real_pool_does_not_run_a_cheap_hash() {
    // proves: N4, and runs the real cost once
    let keys = Arc::new(KeyRing::ephemeral().unwrap());
    let cheap = pool_with(1, 8, Arc::clone(&keys));
    let size = PoolSize { workers: NonZeroU32::MIN, waiting: 8, release_after: NEVER };
    let real = Hasher::start(size, Cost::OWASP, keys).unwrap();
    assert_eq!(real.read(&hashed(&cheap, "copper lantern").phc()).err(), Some(HashFault::CostOutOfBounds));
    let stored = hashed(&real, "copper lantern");
    assert!(stored.phc().starts_with("$argon2id$v=19$m=19456,t=2,p=1,keyid="));
    assert!(matches(&real, "copper lantern", &stored).is_some());
    assert!(matches(&cheap, "copper lantern", &cheap.read(&stored.phc()).unwrap()).unwrap().needs_rehash());
}

#[test]
fn a_hash_of_the_form_before_verifies_in_that_form_and_asks_for_a_new_one() {
    // proves: N2
    let hasher = pool(1, 8);
    let old = permit(&hasher).hash_in(&phrase("seven lanterns"), 1).unwrap().wait().unwrap();
    assert!(old.phc().contains(",form=1$"));
    let old = hasher.read(&old.phc()).unwrap();
    assert!(matches(&hasher, "Seven Lanterns", &old).unwrap().needs_rehash());
    assert!(matches(&hasher, "7 lanterns", &old).is_none(), "as before");
    let new = hashed(&hasher, "seven lanterns");
    assert!(new.phc().contains(",form=2$"));
    for said in ["seven lanterns", "7 lanterns", "siete lanterns"] {
        assert!(!matches(&hasher, said, &new).unwrap().needs_rehash(), "{said}");
    }
}

#[test]
fn an_unknown_pepper_is_found_before_the_charge() {
    // proves: N5
    let stored = hashed(&pool(1, 8), "copper lantern");
    let fault = pool(1, 8).read(&stored.phc()).err();
    assert_eq!(fault, Some(HashFault::UnknownPepper(stored.pepper().clone())));
}

#[test]
fn both_peppers_live_during_a_rotation_and_the_old_one_asks_for_a_new_hash() {
    // proves: N5
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let load = || Arc::new(KeyRing::load(&keys).unwrap());
    crate::identity::keys::create_missing(&keys, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let before = pool_with(1, 8, load());
    let old = hashed(&before, "copper lantern").phc();
    crate::identity::keys::create(&keys, Purpose::Pepper, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let after = pool_with(1, 8, load());
    assert!(matches(&after, "copper lantern", &after.read(&old).unwrap()).unwrap().needs_rehash());
    let new = hashed(&after, "copper lantern");
    assert!(!matches(&after, "copper lantern", &new).unwrap().needs_rehash());
    assert!(matches!(before.read(&new.phc()), Err(HashFault::UnknownPepper(_))));
}

#[test]
fn a_cancelled_caller_keeps_its_place_until_the_hash_is_done() {
    // proves: A35
    let hasher = pool(1, 1);
    let release = occupy(&hasher, 1);
    let cancelled = permit(&hasher).verify(&phrase("copper lantern"), Against::Decoy);
    drop(cancelled);
    assert_eq!(hasher.outstanding(), 1, "the worker's own job has given its place back, the cancelled one has not");
    drop(release);
    let pool = Arc::clone(&hasher.pool);
    drop(hasher);
    assert_eq!(pool.lock().admission.outstanding(), 0);
    assert_eq!(pool.counts.decoys.load(Ordering::Relaxed), 1, "it was hashed all the same");
}

#[test]
fn a_permit_that_is_not_used_gives_its_place_back() {
    let hasher = pool(1, 1);
    let (one, two) = (permit(&hasher), permit(&hasher));
    assert_eq!(hasher.admit(Patience::default()).err(), Some(Shed::Full));
    drop(one);
    let three = permit(&hasher);
    drop((two, three));
    assert_eq!(hasher.outstanding(), 0);
    assert_eq!(hasher.counts().shed, 1);
}

#[test]
fn several_permits_are_given_together_or_not_at_all() {
    // proves: A30
    let hasher = pool(1, 3);
    let three = hasher.admit_all(Patience::default(), 3).unwrap();
    assert_eq!((three.len(), hasher.outstanding()), (3, 3));
    assert_eq!(hasher.admit_all(Patience::default(), 2).err(), Some(Shed::Full));
    assert_eq!(hasher.outstanding(), 3, "none of the two was taken");
    drop(three);
    assert_eq!(hasher.outstanding(), 0);
}

#[test]
fn a_flood_is_refused_and_what_was_admitted_is_answered() {
    // proves: A30
    let hasher = pool(2, 6);
    let release = occupy(&hasher, 2);
    let admitted: Vec<_> = (0..200).filter_map(|_| hasher.admit(Patience::default()).ok()).collect();
    assert!(admitted.len() <= 8, "{}", admitted.len());
    let count = admitted.len();
    let pending: Vec<_> =
        admitted.into_iter().map(|permit| permit.verify(&phrase("copper lantern"), Against::Decoy)).collect();
    drop(release);
    for hash in pending {
        assert!(matches!(hash.wait(), Ok(Verdict::Differs)));
    }
    assert_eq!(hasher.counts().decoys, u64::try_from(count).unwrap());
}

#[test]
fn a_deadline_that_is_over_is_refused_before_the_charge() {
    let hasher = pool(1, 8);
    let patience = Patience { until_deadline: Some(Duration::ZERO), until_floor: None };
    assert_eq!(hasher.admit(patience).err(), Some(Shed::TooLate));
    assert_eq!(hasher.counts(), Counts { shed: 1, ..Counts::default() });
}

#[test]
fn many_callers_on_many_threads_each_get_their_own_answer() {
    let hasher = pool(2, 64);
    let stored = hashed(&hasher, "copper lantern");
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let (hasher, stored) = (&hasher, &stored);
            scope.spawn(move || {
                let right = caller % 2 == 0;
                let said = if right { "copper lantern" } else { "copper lantem" };
                assert_eq!(matches(hasher, said, stored).is_some(), right);
            });
        }
    });
    assert_eq!(hasher.counts().verified, 16);
    assert_eq!(hasher.outstanding(), 0);
}
