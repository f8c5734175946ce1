//! The rule of one budget: a window that slides, and units that are taken and given back. Pure.
//!
//! A unit is taken when an attempt is reserved and stays until it is given back or a span has passed since. So what is
//! reserved and not settled counts as a failure, any span of time holds at most `cap` failures, and giving back removes
//! one's own unit or nothing: no order of events can raise a budget above its start.

use jiff::{SignedDuration, Timestamp};

/// The span of every window.
pub const SPAN: SignedDuration = SignedDuration::from_hours(24);

/// No unit is kept longer than this by any clock. One that is dated further ahead was written by a clock that was wrong,
/// and is dated anew.
pub const LONGEST_KEPT: SignedDuration = SignedDuration::from_hours(25);

/// How many units a window holds, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// At most so many at once. At least 1.
    pub cap: u32,
    /// Each for so long.
    pub span: SignedDuration,
}

/// What came of taking a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It is taken, now or from before.
    Granted {
        /// How many more there are.
        left: u32,
        /// When there will be one more, should none be given back.
        frees_at: Timestamp,
    },
    /// There is none.
    Spent {
        /// When there will be one, should none be given back.
        frees_at: Timestamp,
    },
}

/// The units of one budget, each named by whoever took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window<M> {
    /// Ordered by time.
    units: Vec<(Timestamp, M)>,
}

impl<M> Default for Window<M> {
    fn default() -> Self {
        Self { units: Vec::new() }
    }
}

impl<M: Copy + Eq> Window<M> {
    /// The window with these units, in any order.
    #[must_use]
    pub fn of(units: impl IntoIterator<Item = (Timestamp, M)>) -> Self {
        let mut units: Vec<_> = units.into_iter().collect();
        units.sort_by_key(|(at, _)| *at);
        Self { units }
    }

    /// Takes a unit for `member`, if there is one, or if it has one already.
    pub fn take(&mut self, member: M, rule: Rule, now: Timestamp) -> Taken {
        let now = self.advance(rule.span, now);
        if !self.holds(member) {
            if self.live() >= rule.cap {
                return Taken::Spent { frees_at: self.frees_at(rule, now) };
            }
            self.units.push((now, member));
        }
        Taken::Granted { left: rule.cap.saturating_sub(self.live()), frees_at: self.frees_at(rule, now) }
    }

    /// Gives back the unit of `member`, if it has one.
    pub fn give_back(&mut self, member: M) {
        self.units.retain(|(_, holder)| *holder != member);
    }

    /// Drops what is older than `span`, and returns the time that counts here: never before the newest unit.
    pub fn advance(&mut self, span: SignedDuration, now: Timestamp) -> Timestamp {
        for (at, _) in &mut self.units {
            if at.duration_since(now) > LONGEST_KEPT {
                *at = now;
            }
        }
        self.units.sort_by_key(|(at, _)| *at);
        let now = self.units.last().map_or(now, |(newest, _)| now.max(*newest));
        self.units.retain(|(at, _)| now.duration_since(*at) < span);
        now
    }

    /// Whether `member` has a unit.
    #[must_use]
    pub fn holds(&self, member: M) -> bool {
        self.units.iter().any(|(_, holder)| *holder == member)
    }

    /// How many units are taken.
    #[must_use]
    pub fn live(&self) -> u32 {
        u32::try_from(self.units.len()).unwrap_or(u32::MAX)
    }

    /// The units, the oldest first.
    pub fn units(&self) -> impl Iterator<Item = &(Timestamp, M)> {
        self.units.iter()
    }

    /// When fewer than `cap` units are left, should none be given back. A cap may have shrunk below what is taken.
    fn frees_at(&self, rule: Rule, now: Timestamp) -> Timestamp {
        let over = self.live().saturating_sub(rule.cap);
        let in_the_way = usize::try_from(over).ok().and_then(|index| self.units.get(index));
        let since = in_the_way.map_or(now, |(at, _)| *at);
        since.saturating_add(rule.span).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests;
