//! What the rules see of a question, small enough to be compared, hashed and remembered whole.

use std::collections::BTreeSet;

use super::Question;
use crate::{
    directory::RoleName,
    identity::{Method, ProofBand},
    interaction::Channel,
};

/// How many roles a bundle may declare: one bit each.
pub(super) const MAX_ROLES: usize = 64;

/// A set of roles of one bundle, a bit for each in the order of its schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct RoleSet(pub(super) u64);

impl RoleSet {
    /// Those of `held` that the bundle knows. A role that it does not know is worth nothing.
    pub(super) fn of(known: &[RoleName], held: &BTreeSet<RoleName>) -> Self {
        Self((0_u32..).zip(known).filter(|(_, role)| held.contains(*role)).fold(0, |set, (bit, _)| set | 1 << bit))
    }

    /// Those of `known`, a list in the order of the schema, that are in it.
    pub(super) fn members<T>(self, known: &[T]) -> impl Iterator<Item = &T> {
        (0_u32..).zip(known).filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, role)| role)
    }

    /// All roles, each one alone, and none: with whom a bundle is tried. Whoever has all is permitted most.
    pub(super) fn samples(known: &[RoleName]) -> impl Iterator<Item = Self> {
        let all = (0_u32..).zip(known).fold(0, |set, (bit, _)| set | 1 << bit);
        let single = (0_u32..).zip(known).map(|(bit, _)| Self(1 << bit));
        std::iter::once(Self(all)).chain(single).chain(std::iter::once(Self(0)))
    }
}

/// Everything but the action and its attributes on which an answer depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Situation {
    pub(super) channel: Channel,
    pub(super) roles: RoleSet,
    pub(super) method: Option<Method>,
    pub(super) proof: ProofBand,
    pub(super) primary_admin: bool,
    pub(super) in_cool_off: bool,
    pub(super) number_moves_locked: bool,
    pub(super) business_exemption: bool,
    pub(super) marketing_approved: bool,
}

impl Situation {
    /// The situation of a question, among the roles that the bundle knows.
    pub(super) fn of(known: &[RoleName], question: &Question<'_>) -> Self {
        Self {
            channel: question.channel,
            roles: RoleSet::of(known, question.roles),
            method: question.method,
            proof: question.proof,
            primary_admin: question.primary_admin,
            in_cool_off: question.in_cool_off,
            number_moves_locked: question.number_moves_locked,
            business_exemption: question.business_exemption,
            marketing_approved: question.marketing_approved,
        }
    }

    /// A stranger without proof.
    pub(super) fn stranger(channel: Channel) -> Self {
        Self {
            channel,
            roles: RoleSet::default(),
            method: None,
            proof: ProofBand::None,
            primary_admin: false,
            in_cool_off: false,
            number_moves_locked: false,
            business_exemption: false,
            marketing_approved: false,
        }
    }

    /// Whether method and proof go together: both there, or neither.
    pub(super) fn is_coherent(&self) -> bool {
        self.method.is_none() == (self.proof == ProofBand::None)
    }
}
