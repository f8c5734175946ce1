//! Who may see and change whom on record: pure rules over what was read and over the policy bundle. Knows no store.
//!
//! Tenant first, then policy, then what no policy can say because it is about persons: nobody gives power to himself, nor
//! more than he has (S10), and somebody is always left who can let others in (S13).

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::{
    directory::{Account, AccountId, ContactId, RoleName, SiteId, role::effective_roles},
    identity::{Method, ProofBand, Verified},
    interaction::Channel,
    policy::{AttributeValue, Bundle, Question, Ruling, cool_off},
};

mod account;
pub mod change;
pub mod etag;
pub mod rules;

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub enum Agent<'a> {
    /// A person, within his own account.
    Person(&'a Verified),
    /// A system with these roles, at every account and site: never the primary administrator, and as if freshly logged in.
    System(&'a BTreeSet<RoleName>),
    /// Whoever runs the sidecar, at every account: policy is not asked, and what holds for everybody holds for him.
    Operator,
}

impl Agent<'_> {
    /// The contact that he is; `None`: a system, or an operator.
    #[must_use]
    pub fn contact(&self) -> Option<&ContactId> {
        match self {
            Self::Person(verified) => Some(verified.contact()),
            Self::System(_) | Self::Operator => None,
        }
    }

    /// Whether an account is there for him (A16).
    #[must_use]
    pub fn reaches(&self, account: &AccountId) -> bool {
        match self {
            Self::Person(verified) => verified.account() == account,
            Self::System(_) | Self::Operator => true,
        }
    }

    /// The roles that count for him at a site of the account, or company-wide.
    #[must_use]
    pub fn roles(&self, site: Option<&SiteId>) -> BTreeSet<RoleName> {
        match self {
            Self::Person(verified) => {
                let standing = verified.standing();
                effective_roles(&standing.account, &standing.assignments, site)
            }
            Self::System(roles) => (*roles).clone(),
            Self::Operator => BTreeSet::new(),
        }
    }
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such thing, or none for him.
    NotFound,
    /// He may not; why exactly is for the audit.
    NotPermitted(String),
    /// He might, with a login of a moment ago.
    FreshLoginRequired,
    /// It is not as he saw it any more.
    ChangedMeanwhile,
    /// Another has this already: the field.
    Conflict(&'static str),
    /// What is asked for cannot be: the field.
    Invalid(&'static str),
    /// Nobody would be left who can let others in (S13).
    LastAdmin,
    /// The primary administrator hands over before he leaves (S13).
    PrimaryAdmin,
}

/// Who asks, by which bundle, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The bundle.
    pub bundle: &'a Bundle,
    /// Who acts.
    pub agent: Agent<'a>,
    /// When.
    pub now: Timestamp,
    /// How long the cool-off of A31 lasts.
    pub cool_off: SignedDuration,
    /// A proof older than this is OLD.
    pub fresh_within: SignedDuration,
}

/// Who changes something has logged in a moment ago: the portal may have been left open.
pub const WRITING_LOGIN_AGE: SignedDuration = SignedDuration::from_mins(10);

impl Asking<'_> {
    /// Whether he may see the account and everybody in it; each may see himself besides.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn may_see(&self, account: &Account) -> Result<(), Refusal> {
        if !self.agent.reaches(&account.id) {
            return Err(Refusal::NotFound);
        }
        self.may(&Matter::of("user.change", Some(account)))
            .or_else(|_| self.may(&Matter::of("account.view", Some(account))))
    }

    /// Asks policy, with the best proof that he could bring.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`].
    pub fn may(&self, matter: &Matter<'_>) -> Result<(), Refusal> {
        let method = self.method();
        self.ask(matter, method.best_band())
    }

    /// Asks policy about a change that touches all of it. Only who may, but for the age of his login, is asked to log in again.
    ///
    /// # Errors
    /// [`Refusal::NotPermitted`], [`Refusal::FreshLoginRequired`].
    pub fn may_write(&self, matters: &[Matter<'_>]) -> Result<(), Refusal> {
        for matter in matters {
            self.may(matter)?;
        }
        let Agent::Person(verified) = self.agent else { return Ok(()) };
        let proof = verified.band(self.now, self.fresh_within);
        let is_recent = self.now.duration_since(verified.proved_at()) <= WRITING_LOGIN_AGE;
        if is_recent && matters.iter().all(|matter| self.ask(matter, proof).is_ok()) {
            Ok(())
        } else {
            Err(Refusal::FreshLoginRequired)
        }
    }

    /// How he proved who he is; a system is taken as if it had logged in at this moment.
    fn method(&self) -> Method {
        match self.agent {
            Agent::Person(verified) => verified.method(),
            Agent::System(_) | Agent::Operator => Method::PortalLogin,
        }
    }

    fn ask(&self, matter: &Matter<'_>, proof: ProofBand) -> Result<(), Refusal> {
        if let Agent::Operator = self.agent {
            return Ok(());
        }
        let Some(action) = self.bundle.find_action(matter.action) else {
            return Err(Refusal::NotPermitted(format!("{}: no such action", matter.action)));
        };
        let roles = self.agent.roles(matter.site);
        let (primary_admin, in_cool_off) = match self.agent {
            Agent::Person(verified) => {
                let standing = verified.standing();
                (standing.is_primary_admin(), cool_off::is_running(standing, self.cool_off, self.now))
            }
            Agent::System(_) | Agent::Operator => (false, false),
        };
        let on_file = |holds: fn(&Account) -> bool| matter.account.is_some_and(holds);
        let question = Question {
            action,
            channel: Channel::Portal,
            roles: &roles,
            method: Some(self.method()),
            proof,
            primary_admin,
            in_cool_off,
            number_moves_locked: on_file(|account| account.number_moves_locked),
            business_exemption: on_file(|account| account.cpni_exemption.applies()),
            marketing_approved: on_file(|account| account.marketing_approved.is_some()),
            attributes: &matter.attributes,
        };
        match self.bundle.decide(&question) {
            Ruling::Permitted(_) => Ok(()),
            Ruling::Refused { rule } => Err(Refusal::NotPermitted(format!("{}: {rule}", matter.action))),
        }
    }
}

/// What policy is asked about.
#[derive(Clone, Debug)]
pub struct Matter<'a> {
    /// The action.
    pub action: &'a str,
    /// The account that it touches; `None`: one that is not there yet.
    pub account: Option<&'a Account>,
    /// The site; `None`: the whole company.
    pub site: Option<&'a SiteId>,
    /// What the action's resource says of itself.
    pub attributes: BTreeMap<String, AttributeValue>,
}

impl<'a> Matter<'a> {
    /// An action upon the whole of an account.
    #[must_use]
    pub fn of(action: &'a str, account: Option<&'a Account>) -> Self {
        Self { action, account, site: None, attributes: BTreeMap::new() }
    }
}
