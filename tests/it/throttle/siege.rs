//! Budgets, lanes and floor together, under the defaults, against those who want to lock the owner out (A11).

use super::*;

/// One passphrase try, as the recipe makes it. The owner's phrase is right, everybody else's is wrong.
struct Line {
    sampled: Sampled,
    budgets: SqliteBudgets,
    credentials: Arc<dyn Credentials>,
    rules: Rules,
    calls: u64,
}

/// What the caller, or the audit, would see.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Verified,
    Wrong,
    Refused,
}

impl Line {
    async fn new() -> Self {
        let sampled = Sampled::new().await;
        let budgets = sampled.budgets(Settings::default());
        let credentials = sampled.credentials();
        let owner = Owner::Contact(ContactId::new(sample::BEN));
        credentials.set(&owner, phrase("$ben"), operator(), now()).await.unwrap();
        Self { sampled, budgets, credentials, rules: rules(), calls: 0 }
    }

    /// A new call for Ben, on a number with an attestation, with the right phrase or a wrong one.
    async fn call(&mut self, number: &E164, vouched: Option<Attestation>, is_right: bool, at: Timestamp) -> Answer {
        self.calls += 1;
        let interaction = self.calls.to_string();
        let ben = ContactId::new(sample::BEN);
        let account = self.sampled.store.find_standing(&ben).await.unwrap().unwrap().account;
        let source = Source {
            client: "ivr",
            group: "voice",
            interaction: &interaction,
            agent: None,
            calling_number: Some(number),
            attestation: vouched,
        };
        let line = self.rules.line(Some(number), vouched).unwrap();
        let since = self.rules.familiar_since(at);
        let facts = attempt_facts(&self.sampled.store, sample::BEN, Some(line), since).await;
        let lane = self.rules.lane(&source, &account.numbers_of_record, facts.verified_on_line, at);
        let contacts_with_passphrase = facts.contacts_with_passphrase;
        let charged = Charged::Account { id: &account.id, contacts_with_passphrase };
        let said = AccountSelector::Id(account.id.clone());
        let attempt = self.rules.attempt(draw(), &source, &Aim { said: &said, charged }, lane, at);
        let grant = match self.budgets.reserve(&attempt).await.unwrap() {
            Reservation::Granted(grant) => grant,
            Reservation::Refused(_) => return Answer::Refused,
        };
        if grant.account == AccountBudget::Spent {
            return Answer::Wrong;
        }
        let tried = self.credentials.reserve(&Target::Contact(ben), lane, at).await.unwrap();
        let Tried::Granted(granted) = tried else { return Answer::Wrong };
        if !is_right {
            return Answer::Wrong;
        }
        let Granted { credential, version, .. } = granted;
        let success = Success { credential, version, lane, line: Some(line), rehash: None };
        assert_eq!(self.credentials.settle_success(success, at).await.unwrap(), Settled::Accepted);
        self.budgets.settle(&attempt, Outcome::Success).await.unwrap();
        Answer::Verified
    }
}

fn record_number() -> E164 {
    E164::parse(sample::ACME_OLD_NUMBER).unwrap()
}

const DAY: i64 = 86_400;

// proves: A11
#[test]
fn a_stranger_and_a_hundred_numbers_for_thirty_days_do_not_lock_out_the_owner() {
    block_on(async {
        let mut line = Line::new().await;
        for day in 0..30 {
            for hour in 0..24 {
                let at = after(day * DAY + hour * 3600);
                // One who never gives up, and who also spoofs the owner's number without the carrier's word.
                line.call(&number(9000), None, false, at).await;
                line.call(&record_number(), Some(Attestation::C), false, at).await;
                for other in 0..5 {
                    let caller = number(1000 + u32::try_from((hour * 5 + other) % 100).unwrap());
                    let answer = line.call(&caller, None, false, at).await;
                    assert_ne!(answer, Answer::Verified);
                }
            }
            let at = after(day * DAY + 23 * 3600 + 60);
            assert_eq!(
                line.call(&record_number(), Some(Attestation::A), true, at).await,
                Answer::Verified,
                "day {day}"
            );
        }
        // On an unfamiliar number even the right phrase is answered as wrong, until the owner reopens the lane.
        let at = after(31 * DAY);
        assert_eq!(line.call(&number(9001), None, true, at).await, Answer::Wrong);
        let ben = ContactId::new(sample::BEN);
        let reopened = line.credentials.reopen(&ben, operator(), at).await.unwrap();
        assert!(matches!(reopened, Reopened::Open(_)));
        assert_eq!(line.call(&number(9001), None, true, after(33 * DAY)).await, Answer::Verified);
    });
}

// proves: A11
#[test]
fn a_line_that_carriers_do_not_sign_is_familiar_after_the_first_proof() {
    block_on(async {
        let mut line = Line::new().await;
        let mobile = number(42);
        assert_eq!(line.call(&mobile, None, true, now()).await, Answer::Verified);
        for minute in 0..300 {
            let caller = number(1000 + u32::try_from(minute).unwrap());
            line.call(&caller, None, false, after(minute * 60)).await;
        }
        // The lane of strangers is locked for hours by now, for whoever is in it.
        let at = after(300 * 60);
        assert_eq!(line.call(&number(43), None, true, at).await, Answer::Wrong);
        assert_eq!(line.call(&mobile, None, true, at).await, Answer::Verified);
    });
}

// proves: A19
#[test]
fn a_spoofed_number_of_record_burns_that_number_alone() {
    block_on(async {
        let mut line = Line::new().await;
        assert_eq!(line.call(&number(42), None, true, now()).await, Answer::Verified);
        for try_of_day in 0..20 {
            line.call(&record_number(), Some(Attestation::A), false, after(60 + try_of_day)).await;
        }
        let at = after(3600);
        assert_eq!(line.call(&record_number(), Some(Attestation::A), true, at).await, Answer::Refused);
        assert_eq!(line.call(&number(42), None, true, at).await, Answer::Verified);
        assert_eq!(line.call(&number(43), None, true, at).await, Answer::Verified);
    });
}

// proves: A12
#[test]
fn a_week_later_the_source_has_its_tries_again_and_the_credential_remembers() {
    block_on(async {
        let mut line = Line::new().await;
        for _ in 0..6 {
            assert_eq!(line.call(&number(1), None, false, now()).await, Answer::Wrong);
        }
        let at = after(7 * DAY);
        assert_eq!(line.call(&number(1), None, false, at).await, Answer::Wrong);
        let owner = Owner::Contact(ContactId::new(sample::BEN));
        let status = line.credentials.status(&owner, at).await.unwrap().unwrap();
        assert_eq!(status.locked_until, Some(at + SignedDuration::from_secs(60)));
    });
}
