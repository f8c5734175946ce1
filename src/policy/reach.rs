//! How far roles reach: whether who has some of them may do all that another would permit (S10), and which let others in (S13).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{PoisonError, RwLock},
};

use super::{Bundle, Question, Ruling, matrix::Condition, situation::RoleSet};
use crate::{directory::RoleName, interaction::Channel};

/// What was found out before, for one bundle. Roles are few, and so are the sets of them that occur.
#[derive(Default)]
pub(super) struct Reach {
    covered: RwLock<HashMap<(RoleSet, RoleSet), bool>>,
    may: RwLock<HashMap<String, BTreeSet<RoleName>>>,
}

/// More sets of roles than that are asked about anew each time.
const CAPACITY: usize = 4_096;

impl Bundle {
    /// Whether bearers of these roles may do all that a bearer of `role` alone may: each action, on each channel, with the best
    /// evidence, in whatever condition. A role that the bundle does not know permits nothing, and is covered by any.
    #[must_use]
    pub fn covers(&self, held: &BTreeSet<RoleName>, role: &RoleName) -> bool {
        if held.contains(role) {
            return true;
        }
        let one = BTreeSet::from([role.clone()]);
        let key = (RoleSet::of(self.roles(), held), RoleSet::of(self.roles(), &one));
        if let Some(known) = self.reach.covered.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return *known;
        }
        let is_covered = self.questions(&one).all(|question| {
            let is_permitted = |question: &Question<'_>| matches!(self.decide(question), Ruling::Permitted(_));
            !is_permitted(&question) || is_permitted(&Question { roles: held, ..question.clone() })
        });
        let mut covered = self.reach.covered.write().unwrap_or_else(PoisonError::into_inner);
        if covered.len() < CAPACITY {
            covered.insert(key, is_covered);
        }
        is_covered
    }

    /// The roles that permit this action somewhere, with the best evidence, ordinarily.
    #[must_use]
    pub fn roles_that_may(&self, action: &str) -> BTreeSet<RoleName> {
        if let Some(known) = self.reach.may.read().unwrap_or_else(PoisonError::into_inner).get(action) {
            return known.clone();
        }
        let may = |role: &&RoleName| {
            let one = BTreeSet::from([(*role).clone()]);
            let mut asked = self.questions(&one).filter(|question| question.action.name == action);
            asked.any(|question| is_ordinary(&question) && matches!(self.decide(&question), Ruling::Permitted(_)))
        };
        let roles: BTreeSet<RoleName> = self.roles().iter().filter(may).cloned().collect();
        // What is no action of the bundle is nobody's, and need not be kept.
        if self.actions().any(|known| known.name == action) {
            let mut may = self.reach.may.write().unwrap_or_else(PoisonError::into_inner);
            may.insert(action.to_owned(), roles.clone());
        }
        roles
    }

    /// Whatever a bearer of these roles could be permitted: every action with its example, where and how it could be proved.
    fn questions<'a>(&'a self, roles: &'a BTreeSet<RoleName>) -> impl Iterator<Item = Question<'a>> {
        let places = self.actions().flat_map(|action| Channel::ALL.map(|channel| (action, channel)));
        let proofs = places.flat_map(|(action, channel)| {
            self.accepted_methods(action, channel).iter().map(move |method| (action, channel, *method))
        });
        proofs.flat_map(move |(action, channel, method)| {
            let ordinary = Question {
                action,
                channel,
                roles,
                method: Some(method),
                proof: method.best_band(),
                primary_admin: false,
                in_cool_off: false,
                number_moves_locked: false,
                business_exemption: false,
                marketing_approved: false,
                attributes: &action.example,
            };
            let extraordinary = Condition::EXTRAORDINARY.map(|condition| condition.applied(ordinary.clone()));
            std::iter::once(ordinary).chain(extraordinary)
        })
    }
}

fn is_ordinary(question: &Question<'_>) -> bool {
    !(question.primary_admin
        || question.in_cool_off
        || question.number_moves_locked
        || question.business_exemption
        || question.marketing_approved)
}
