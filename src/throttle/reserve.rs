//! The order in which an attempt takes its places. One function for every store that keeps windows in one place.

use jiff::{SignedDuration, Timestamp};

use super::{
    AccountBudget, Alarm, Attempt, Grant, Key, Lane, Outcome, Refusal, Reservation, Settings, SourceBudget, Spread,
    budget::{LONGEST_KEPT, Rule, SPAN, Taken},
};
use crate::directory::Generation;

/// What a store of windows can do. Each call is atomic; no two need to be together.
pub(crate) trait Windows {
    /// Why it cannot.
    type Error;

    /// Takes a unit of `key` for `member` by [`super::budget::Window::take`].
    fn take(&mut self, key: Key, member: Member, rule: Rule, now: Timestamp) -> Result<Taken, Self::Error>;

    /// Takes a unit of `key` for `member`, whatever the cap. Whether it had none before.
    fn note(&mut self, key: Key, member: Member, span: SignedDuration, now: Timestamp) -> Result<bool, Self::Error>;

    /// Gives back the unit of `member`, if it has one.
    fn give_back(&mut self, key: Key, member: Member) -> Result<(), Self::Error>;

    /// How many units of `key` are taken.
    fn live(&mut self, key: Key, span: SignedDuration, now: Timestamp) -> Result<u32, Self::Error>;

    /// Counts one more new key of a client in the minute of `now`, and returns how many there are with it.
    fn count_new_key(&mut self, client: Key, now: Timestamp) -> Result<u32, Self::Error>;

    /// Until when the store is under suspicion. One that has lost its counters begins with `until`, and says so to `member`.
    /// So does one that knows the windows of another generation of the directory only.
    fn suspicion(&mut self, member: Member, generation: Generation, until: Timestamp)
    -> Result<Suspicion, Self::Error>;
}

/// Who has a unit: an attempt, or, where different accounts are counted, an account.
pub(crate) type Member = [u8; 16];

/// What a store knows about its own past.
pub(crate) struct Suspicion {
    pub(crate) until: Timestamp,
    pub(crate) begins: bool,
}

/// Takes the attempt's places: interaction, calling number, then account.
pub(crate) fn reserve<W: Windows>(
    windows: &mut W,
    attempt: &Attempt,
    settings: &Settings,
) -> Result<Reservation, W::Error> {
    let mut raised = Vec::new();
    let narrowing = narrowing(windows, attempt, settings, &mut raised)?;
    let narrowed = narrowing != Narrowing::default();
    let (interaction, number) = source_keys(windows, attempt, settings)?;
    let member = *attempt.id.as_bytes();

    let by_interaction = narrowing.rule(|narrow| settings.interaction_rule(narrow));
    let mut tries_left = match windows.take(interaction, member, by_interaction, attempt.now)? {
        Taken::Granted { left, .. } => left,
        Taken::Spent { .. } => {
            let by = SourceBudget::Interaction;
            return Ok(Reservation::Refused(Refusal { by, retry_at: None, narrowed, raised }));
        }
    };
    let mut retry_at = None;
    if let Some(number) = number {
        match windows.take(number, member, narrowing.rule(|narrow| settings.number_rule(narrow)), attempt.now)? {
            Taken::Granted { left, frees_at } => {
                retry_at = (left == 0).then_some(frees_at);
                tries_left = tries_left.min(left);
            }
            Taken::Spent { frees_at } => {
                let by = SourceBudget::CallingNumber;
                return Ok(Reservation::Refused(Refusal { by, retry_at: Some(frees_at), narrowed, raised }));
            }
        }
    }
    note_spread(windows, attempt, settings, &mut raised)?;
    let account = take_account(windows, attempt, narrowing)?;
    Ok(Reservation::Granted(Grant { account, tries_left, retry_at, narrowed, raised }))
}

/// Gives back what a successful attempt took, and forgets that its account was tried.
pub(crate) fn settle<W: Windows>(windows: &mut W, attempt: &Attempt, outcome: Outcome) -> Result<(), W::Error> {
    if outcome == Outcome::Failure {
        return Ok(());
    }
    let member = *attempt.id.as_bytes();
    let keys = [attempt.interaction, attempt.overflow.interaction, attempt.overflow.number, attempt.account];
    for key in keys.into_iter().chain(attempt.number) {
        windows.give_back(key, member)?;
    }
    let Spread { client, agent, fleet, said } = attempt.spread;
    for scope in [client, fleet].into_iter().chain(agent) {
        windows.give_back(scope, *said.as_bytes())?;
    }
    Ok(())
}

/// By which figures an attempt goes. A familiar one always goes by the full ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Narrowing {
    /// Too many accounts were tried.
    is_alarmed: bool,
    /// The store has lost its counters: its windows start half spent, rounded down, and at least one place is left.
    is_suspect: bool,
}

impl Narrowing {
    /// Of a rule that is given for the full figures and for the narrow ones.
    fn rule(self, of: impl Fn(bool) -> Rule) -> Rule {
        let Rule { mut cap, span } = of(self.is_alarmed);
        if self.is_suspect {
            let full = of(false).cap;
            cap = cap.min(full.saturating_sub(full / 2));
        }
        Rule { cap, span }
    }
}

fn narrowing<W: Windows>(
    windows: &mut W,
    attempt: &Attempt,
    settings: &Settings,
    raised: &mut Vec<Alarm>,
) -> Result<Narrowing, W::Error> {
    let begins_until = attempt.now.saturating_add(SPAN).unwrap_or(Timestamp::MAX);
    let suspicion = windows.suspicion(*attempt.id.as_bytes(), attempt.generation, begins_until)?;
    if suspicion.begins {
        raised.push(Alarm::CountersLost);
    }
    if attempt.lane != Lane::Unfamiliar {
        return Ok(Narrowing::default());
    }
    // An end far ahead was written by a clock that was wrong.
    let is_suspect = attempt.now < suspicion.until && suspicion.until.duration_since(attempt.now) <= LONGEST_KEPT;
    let mut is_alarmed = false;
    for (scope, rule, _) in scopes(attempt, settings) {
        is_alarmed |= windows.live(scope, rule.span, attempt.now)? >= rule.cap;
    }
    Ok(Narrowing { is_alarmed, is_suspect })
}

/// The counters of the source: its own, or, for a new one of a client that made too many in this minute, shared ones.
/// A familiar line is bounded by the directory and always has its own.
fn source_keys<W: Windows>(
    windows: &mut W,
    attempt: &Attempt,
    settings: &Settings,
) -> Result<(Key, Option<Key>), W::Error> {
    if attempt.lane != Lane::Unfamiliar {
        return Ok((attempt.interaction, attempt.number));
    }
    let mut own_or = |own: Key, shared: Key| -> Result<Key, W::Error> {
        let is_new = windows.live(own, SPAN, attempt.now)? == 0;
        let is_over =
            is_new && windows.count_new_key(attempt.spread.client, attempt.now)? > settings.new_keys_per_client_minute;
        Ok(if is_over { shared } else { own })
    };
    let interaction = own_or(attempt.interaction, attempt.overflow.interaction)?;
    let number = attempt.number.map(|number| own_or(number, attempt.overflow.number)).transpose()?;
    Ok((interaction, number))
}

/// Notes the account as tried. An alarm begins when the last free place is taken.
fn note_spread<W: Windows>(
    windows: &mut W,
    attempt: &Attempt,
    settings: &Settings,
    raised: &mut Vec<Alarm>,
) -> Result<(), W::Error> {
    let said = *attempt.spread.said.as_bytes();
    for (scope, rule, alarm) in scopes(attempt, settings) {
        let before = windows.live(scope, rule.span, attempt.now)?;
        // Noting beyond the alarm keeps it from ending with its oldest entry while the spray goes on; twice is enough.
        if before < rule.cap.saturating_mul(2)
            && windows.note(scope, said, rule.span, attempt.now)?
            && before.saturating_add(1) == rule.cap
        {
            raised.push(alarm);
        }
    }
    Ok(())
}

fn take_account<W: Windows>(
    windows: &mut W,
    attempt: &Attempt,
    narrowing: Narrowing,
) -> Result<AccountBudget, W::Error> {
    let rule = narrowing.rule(|_| Rule { cap: attempt.account_cap, span: SPAN });
    let taken = windows.take(attempt.account, *attempt.id.as_bytes(), rule, attempt.now)?;
    Ok(match taken {
        Taken::Spent { .. } if !attempt.is_nobody => AccountBudget::Spent,
        Taken::Spent { .. } | Taken::Granted { .. } => AccountBudget::Open,
    })
}

/// Over whom different accounts are counted.
fn scopes(attempt: &Attempt, settings: &Settings) -> impl Iterator<Item = (Key, Rule, Alarm)> + use<> {
    let Spread { client, agent, fleet, .. } = attempt.spread;
    let caps = settings.alarm;
    let agent = agent.map(|agent| (agent, settings.alarm_rule(caps.agent_accounts), Alarm::Agent));
    let client = (client, settings.alarm_rule(caps.client_accounts), Alarm::Client);
    let fleet = (fleet, settings.alarm_rule(caps.fleet_accounts), Alarm::Fleet);
    [Some(client), agent, Some(fleet)].into_iter().flatten()
}
