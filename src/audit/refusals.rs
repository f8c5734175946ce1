//! How refused calls are folded into few records, so that nobody fills the disk by being refused. Pure: time is an
//! argument ([`Clock::uptime`](crate::clock::Clock::uptime)), and whoever calls writes the records down.
//!
//! | who was refused | written at once | folded | worst case, kept up all day |
//! |---|---|---|---|
//! | somebody unknown | the first per peer and reason | the rest, every 10 s | 26 records a second |
//! | a known client | 10 a second per client | the rest, every 10 s per RPC and reason | 10 a second and client |

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    Record,
    record::{RefusalRecord, UnknownClientsRecord},
};

/// Refusals of callers who are not known as a client.
#[derive(Debug, Default)]
pub struct UnknownClients {
    peers: HashMap<(String, &'static str), Tally>,
}

#[derive(Debug)]
struct Tally {
    reported: Duration,
    since: u64,
}

impl UnknownClients {
    /// Counts a refusal, and returns what is to be recorded at once.
    ///
    /// `peer` is an address without its port, or `unix:` and a user id; `reason` a stable code.
    pub fn note(&mut self, peer: &str, reason: &'static str, now: Duration) -> Option<Record> {
        let mut key = (peer.to_owned(), reason);
        if !self.peers.contains_key(&key) && self.peers.len() >= MAX_PEERS {
            // One key per reason beyond the bound: the code knows few reasons.
            key.0 = OTHERS.to_owned();
        }
        if let Some(tally) = self.peers.get_mut(&key) {
            tally.since += 1;
            return None;
        }
        let record = summary(&key, 1);
        self.peers.insert(key, Tally { reported: now, since: 0 });
        Some(record)
    }

    /// What is to be recorded now: peers that were refused again, at most every 10 s each. A peer that was quiet for
    /// as long is forgotten, and its next refusal recorded at once. To be called about once a second.
    pub fn due(&mut self, now: Duration) -> Vec<Record> {
        let mut due = Vec::new();
        self.peers.retain(|key, tally| {
            if now.saturating_sub(tally.reported) < FOLD_EVERY {
                return true;
            }
            if tally.since == 0 {
                return false;
            }
            due.push(summary(key, tally.since));
            *tally = Tally { reported: now, since: 0 };
            true
        });
        due
    }

    /// Whatever is not recorded yet: for the end.
    pub fn drain(&mut self) -> Vec<Record> {
        let pending = std::mem::take(&mut self.peers);
        pending.iter().filter(|(_, tally)| tally.since > 0).map(|(key, tally)| summary(key, tally.since)).collect()
    }
}

fn summary((peer, reason): &(String, &'static str), count: u64) -> Record {
    Record::UnknownClients(UnknownClientsRecord { peer: peer.clone(), reason: (*reason).to_owned(), count })
}

/// Refusals of known clients.
#[derive(Debug, Default)]
pub struct KnownClients {
    clients: BTreeMap<String, Client>,
}

#[derive(Debug)]
struct Client {
    second: Duration,
    written: u32,
    folded_at: Duration,
    folded: Vec<RefusalRecord>,
}

impl KnownClients {
    /// Counts a refusal. Within the client's rate it is returned, to be recorded at once; else it is folded.
    ///
    /// Clients are named in the config, RPCs, states and reasons in the code: what is kept is bounded by both.
    pub fn note(&mut self, refusal: RefusalRecord, now: Duration) -> Option<Record> {
        let client = self.clients.entry(refusal.client.clone()).or_insert_with(|| Client {
            second: now,
            written: 0,
            folded_at: now,
            folded: Vec::new(),
        });
        if now.saturating_sub(client.second) >= Duration::from_secs(1) {
            (client.second, client.written) = (now, 0);
        }
        if client.written < RATE {
            client.written += 1;
            return Some(Record::Refusal(refusal));
        }
        if client.folded.is_empty() {
            client.folded_at = now;
        }
        match client.folded.iter_mut().find(|folded| is_like(folded, &refusal)) {
            Some(folded) => {
                folded.count += refusal.count;
                folded.request_id.clear();
                if folded.about != refusal.about {
                    folded.about.clear();
                }
            }
            None => client.folded.push(refusal),
        }
        None
    }

    /// What is to be recorded now: what was folded for 10 s. To be called about once a second.
    pub fn due(&mut self, now: Duration) -> Vec<Record> {
        self.take(|client| now.saturating_sub(client.folded_at) >= FOLD_EVERY)
    }

    /// Whatever is not recorded yet: for the end.
    pub fn drain(&mut self) -> Vec<Record> {
        self.take(|_| true)
    }

    fn take(&mut self, is_due: impl Fn(&Client) -> bool) -> Vec<Record> {
        let due = self.clients.values_mut().filter(|client| is_due(client));
        due.flat_map(|client| std::mem::take(&mut client.folded)).map(Record::Refusal).collect()
    }
}

fn is_like(one: &RefusalRecord, other: &RefusalRecord) -> bool {
    (&one.rpc, &one.status, &one.reason) == (&other.rpc, &other.status, &other.reason)
}

/// How many peers and reasons are told apart. With 300 bytes a record, all of them at their worst write 0.7 GB a day.
const MAX_PEERS: usize = 256;
/// Stands for every peer beyond those.
const OTHERS: &str = "others";
/// How long refusals are folded into one record.
const FOLD_EVERY: Duration = Duration::from_secs(10);
/// How many refusals of one client are recorded one by one, per second.
const RATE: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn seconds(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    fn unknown(peer: &str, count: u64) -> Record {
        summary(&(peer.to_owned(), "NO_TOKEN"), count)
    }

    fn refusal(about: &str, request_id: &str, count: u64) -> RefusalRecord {
        RefusalRecord {
            client: "ivr".to_owned(),
            rpc: "Authorize".to_owned(),
            request_id: request_id.to_owned(),
            status: "PERMISSION_DENIED".to_owned(),
            reason: "CHANNEL_NOT_GRANTED".to_owned(),
            about: about.to_owned(),
            count,
        }
    }

    #[test]
    fn the_first_refusal_of_a_peer_is_recorded_at_once_and_the_rest_every_ten_seconds() {
        let mut refusals = UnknownClients::default();
        assert_eq!(refusals.note("::1", "NO_TOKEN", START), Some(unknown("::1", 1)));
        for _ in 0..1000 {
            assert_eq!(refusals.note("::1", "NO_TOKEN", seconds(3)), None);
        }
        assert_eq!(refusals.due(seconds(9)), []);
        assert_eq!(refusals.due(seconds(10)), [unknown("::1", 1000)]);
        assert_eq!(refusals.note("::1", "NO_TOKEN", seconds(11)), None);
        assert_eq!(refusals.due(seconds(20)), [unknown("::1", 1)]);
    }

    #[test]
    fn a_peer_that_was_quiet_is_told_at_once_again() {
        let mut refusals = UnknownClients::default();
        assert!(refusals.note("::1", "NO_TOKEN", START).is_some());
        assert_eq!(refusals.due(seconds(10)), []);
        assert_eq!(refusals.note("::1", "NO_TOKEN", seconds(10)), Some(unknown("::1", 1)));
    }

    #[test]
    fn peers_beyond_the_bound_share_a_key_and_none_is_lost() {
        let mut refusals = UnknownClients::default();
        let mut told = Vec::new();
        for peer in 0..10_000 {
            told.extend(refusals.note(&format!("10.0.0.{peer}"), "NO_TOKEN", START));
        }
        assert_eq!(told.len(), MAX_PEERS + 1);
        assert!(refusals.peers.len() <= MAX_PEERS + 1);
        told.extend(refusals.drain());
        let count = |record: &Record| {
            let Record::UnknownClients(record) = record else { panic!("{record:?}") };
            record.count
        };
        assert_eq!(told.iter().map(count).sum::<u64>(), 10_000);
        assert_eq!(refusals.drain(), []);
    }

    // proves: F2
    #[test]
    fn refusals_of_a_client_beyond_its_rate_are_folded_and_counted() {
        let mut refusals = KnownClients::default();
        for call in 0..RATE {
            let one = refusal("channel", &call.to_string(), 1);
            assert_eq!(refusals.note(one.clone(), START), Some(Record::Refusal(one)));
        }
        for call in 0..90 {
            assert_eq!(refusals.note(refusal("channel", &call.to_string(), 1), START), None);
        }
        assert_eq!(refusals.due(seconds(9)), []);
        assert_eq!(refusals.due(seconds(10)), [Record::Refusal(refusal("channel", "", 90))]);
        assert_eq!(refusals.drain(), []);
    }

    #[test]
    fn a_clients_rate_is_its_own_and_comes_back_after_a_second() {
        let mut refusals = KnownClients::default();
        for _ in 0..=RATE {
            refusals.note(refusal("", "", 1), START);
        }
        let other = RefusalRecord { client: "portal".to_owned(), ..refusal("", "", 1) };
        assert!(refusals.note(other, START).is_some());
        assert!(refusals.note(refusal("", "", 1), seconds(1)).is_some());
    }

    #[test]
    fn folding_keeps_reasons_apart_and_drops_what_differs() {
        let mut refusals = KnownClients::default();
        for _ in 0..RATE {
            refusals.note(refusal("a", "", 1), START);
        }
        let overloaded = RefusalRecord { reason: "OVERLOADED".to_owned(), ..refusal("a", "", 1) };
        for record in [refusal("a", "1", 1), overloaded.clone(), refusal("b", "2", 1)] {
            assert_eq!(refusals.note(record, START), None);
        }
        assert_eq!(refusals.drain(), [Record::Refusal(refusal("", "", 2)), Record::Refusal(overloaded)]);
    }
}
