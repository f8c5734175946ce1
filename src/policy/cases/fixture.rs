//! The people and accounts of cases: as much of them as a decision looks at.

use jiff::{Timestamp, civil};

use crate::directory::{
    Account, AccountId, Contact, ContactId, ContactStatus, CpniExemption, Enrolment, Revision, RoleAssignment,
    RoleName, Scope, Site, SiteId, Standing,
};

/// A person of a case.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Contact, account and roles.
    pub standing: Standing,
    /// Whether a cool-off is running.
    pub in_cool_off: bool,
    /// The account's primary administrator.
    pub primary_admin: Option<Standing>,
}

/// An account of a case.
#[derive(Clone, Debug, Default)]
pub struct FixtureAccount {
    /// Its name, and id.
    pub name: String,
    /// Its sites.
    pub sites: Vec<String>,
    /// The person who answers for it.
    pub primary_admin: Option<String>,
    /// The owner's lock on changes that move numbers (F16).
    pub number_moves_locked: bool,
    /// Whether the business exemption applies (F13).
    pub business_exemption: bool,
    /// Whether the approval to marketing use of CPNI is on file (F14).
    pub marketing_approved: bool,
}

impl FixtureAccount {
    /// A person of this account; a role is `role`, or `role@site`.
    pub fn person<'a>(&self, name: &str, roles: impl IntoIterator<Item = &'a str>) -> Standing {
        let long_ago = Timestamp::UNIX_EPOCH;
        let contact = ContactId::new(name);
        let assignments = roles.into_iter().map(|role| {
            let (role, site) = scoped(role);
            let scope = site.map_or(Scope::Company, |site| Scope::Site(SiteId::new(site)));
            RoleAssignment { contact: contact.clone(), role: RoleName::new(role), scope, granted: long_ago }
        });
        let exempt = self.business_exemption;
        Standing {
            assignments: assignments.collect(),
            account: Account {
                id: AccountId::new(&self.name),
                name: self.name.clone(),
                created: long_ago,
                primary_admin: self.primary_admin.as_ref().map(ContactId::new),
                numbers_of_record: Vec::new(),
                addresses_of_record: Vec::new(),
                sites: self.sites.iter().map(|site| Site { id: SiteId::new(site), name: site.clone() }).collect(),
                number_moves_locked: self.number_moves_locked,
                cpni_exemption: CpniExemption { dedicated_representative: exempt, contract_addresses_cpni: exempt },
                marketing_approved: self.marketing_approved.then_some(civil::date(1970, 1, 1)),
                closed: None,
            },
            contact: Contact {
                id: contact.clone(),
                account: AccountId::new(&self.name),
                first_name: name.to_owned(),
                last_name: String::new(),
                email: None,
                extension: None,
                user_id: None,
                status: ContactStatus::Active,
                created: long_ago,
            },
            enrolment: Enrolment::default(),
            revision: Revision::default(),
        }
    }
}

/// The role, and the site of `role@site`.
pub(super) fn scoped(role: &str) -> (&str, Option<&str>) {
    role.split_once('@').map_or((role, None), |(role, site)| (role, Some(site)))
}
