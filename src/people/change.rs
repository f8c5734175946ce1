//! What somebody wants changed.

use jiff::civil::Date;

use crate::directory::{AccountId, AddressKind, ContactId, CpniExemption, E164, RoleName, Scope, Site, SiteId};

/// What is to be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A contact is to be there.
    CreateContact {
        /// Of which account.
        account: AccountId,
        /// Under which id.
        contact: ContactId,
        /// His profile.
        profile: Profile,
    },
    /// Some fields of a contact are to be others.
    UpdateContact {
        /// Whose.
        contact: ContactId,
        /// Which.
        profile: Profile,
    },
    /// A contact has left.
    DeactivateContact {
        /// Who.
        contact: ContactId,
    },
    /// A contact who left is back.
    ReactivateContact {
        /// Who.
        contact: ContactId,
    },
    /// A role is to be granted.
    AssignRole {
        /// To whom.
        contact: ContactId,
        /// Which.
        role: RoleName,
        /// Where.
        scope: Scope,
    },
    /// A role is to be taken away.
    RevokeRole {
        /// From whom.
        contact: ContactId,
        /// Which.
        role: RoleName,
        /// Where.
        scope: Scope,
    },
    /// Somebody is to answer for the account.
    TransferPrimaryAdmin {
        /// For which.
        account: AccountId,
        /// Who.
        contact: ContactId,
    },
    /// An account is to be there.
    CreateAccount {
        /// Under which id.
        account: AccountId,
        /// What is on record of it.
        fields: AccountFields,
    },
    /// Some fields of an account are to be others.
    UpdateAccount {
        /// Whose.
        account: AccountId,
        /// Which.
        fields: AccountFields,
    },
    /// A site is closed.
    DeactivateSite {
        /// Of which account.
        account: AccountId,
        /// Which.
        site: SiteId,
    },
    /// An account is closed.
    DeactivateAccount {
        /// Which.
        account: AccountId,
    },
    /// The lock on changes that move numbers is to be set, or lifted.
    SetNumberLock {
        /// Of which account.
        account: AccountId,
        /// Whether it is to be set.
        is_locked: bool,
    },
    /// What goes to a number or address of record may reach somebody else.
    ReportRerouting {
        /// Of which account.
        account: AccountId,
        /// Which.
        of_record: OfRecord,
        /// Since which day; `None`: today.
        since: Option<Date>,
    },
}

/// Where an account is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfRecord {
    /// A telephone number.
    Number(E164),
    /// An address.
    Address(AddressKind, String),
}

/// Fields of an account; `None`: not named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFields {
    /// The name.
    pub name: Option<String>,
    /// All numbers of record.
    pub numbers_of_record: Option<Vec<E164>>,
    /// All addresses of record.
    pub addresses_of_record: Option<Vec<(AddressKind, String)>>,
    /// Sites that are to be there, or under another name; the others stay.
    pub sites: Option<Vec<Site>>,
    /// The business exemption (F13).
    pub cpni_exemption: Option<CpniExemption>,
    /// Whether the customer's approval to marketing use of CPNI is on file (F14).
    pub marketing_approved: Option<bool>,
}

impl AccountFields {
    /// The fields that are named.
    pub fn named(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("name", self.name.is_some()),
            ("numbers_of_record", self.numbers_of_record.is_some()),
            ("addresses_of_record", self.addresses_of_record.is_some()),
            ("sites", self.sites.is_some()),
            ("cpni_exemption", self.cpni_exemption.is_some()),
            ("marketing_approved", self.marketing_approved.is_some()),
        ];
        fields.into_iter().filter_map(|(field, is_named)| is_named.then_some(field))
    }
}

/// Fields of a contact; `None`: not named. Text that may be missing is empty then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Extension.
    pub extension: Option<String>,
    /// User id.
    pub user_id: Option<String>,
}

impl Profile {
    /// The fields that are named.
    pub fn named(&self) -> impl Iterator<Item = &'static str> {
        let fields = [
            ("first_name", self.first_name.is_some()),
            ("last_name", self.last_name.is_some()),
            ("email", self.email.is_some()),
            ("extension", self.extension.is_some()),
            ("user_id", self.user_id.is_some()),
        ];
        fields.into_iter().filter_map(|(field, is_named)| is_named.then_some(field))
    }
}

impl Wish {
    /// What the audit calls it, once it is done on behalf of an operator.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateContact { .. } => "contact_created",
            Self::UpdateContact { .. } => "contact_changed",
            Self::DeactivateContact { .. } => "contact_deactivated",
            Self::ReactivateContact { .. } => "contact_reactivated",
            Self::AssignRole { .. } => "role_assigned",
            Self::RevokeRole { .. } => "role_revoked",
            Self::TransferPrimaryAdmin { .. } => "primary_admin_set",
            Self::CreateAccount { .. } => "account_created",
            Self::UpdateAccount { .. } => "account_changed",
            Self::DeactivateAccount { .. } => "account_closed",
            Self::DeactivateSite { .. } => "site_closed",
            Self::SetNumberLock { .. } => "number_lock_changed",
            Self::ReportRerouting { .. } => "rerouting_reported",
        }
    }

    /// The contact that it names.
    #[must_use]
    pub fn contact(&self) -> Option<&ContactId> {
        match self {
            Self::CreateContact { contact, .. }
            | Self::UpdateContact { contact, .. }
            | Self::DeactivateContact { contact }
            | Self::ReactivateContact { contact }
            | Self::AssignRole { contact, .. }
            | Self::RevokeRole { contact, .. }
            | Self::TransferPrimaryAdmin { contact, .. } => Some(contact),
            Self::CreateAccount { .. }
            | Self::UpdateAccount { .. }
            | Self::DeactivateSite { .. }
            | Self::DeactivateAccount { .. }
            | Self::SetNumberLock { .. }
            | Self::ReportRerouting { .. } => None,
        }
    }

    /// The account that it names.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::CreateContact { account, .. }
            | Self::TransferPrimaryAdmin { account, .. }
            | Self::CreateAccount { account, .. }
            | Self::UpdateAccount { account, .. }
            | Self::DeactivateSite { account, .. }
            | Self::DeactivateAccount { account }
            | Self::SetNumberLock { account, .. }
            | Self::ReportRerouting { account, .. } => Some(account),
            Self::UpdateContact { .. }
            | Self::DeactivateContact { .. }
            | Self::ReactivateContact { .. }
            | Self::AssignRole { .. }
            | Self::RevokeRole { .. } => None,
        }
    }

    /// The role that it is about, with where it applies.
    #[must_use]
    pub fn role(&self) -> Option<String> {
        match self {
            Self::AssignRole { role, scope, .. } | Self::RevokeRole { role, scope, .. } => Some(role.at(scope)),
            Self::CreateContact { .. }
            | Self::UpdateContact { .. }
            | Self::DeactivateContact { .. }
            | Self::ReactivateContact { .. }
            | Self::TransferPrimaryAdmin { .. }
            | Self::CreateAccount { .. }
            | Self::UpdateAccount { .. }
            | Self::DeactivateSite { .. }
            | Self::DeactivateAccount { .. }
            | Self::SetNumberLock { .. }
            | Self::ReportRerouting { .. } => None,
        }
    }

    /// The fields that it changes.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        match self {
            Self::UpdateContact { profile, .. } => profile.named().map(str::to_owned).collect(),
            Self::UpdateAccount { fields, .. } => fields.named().map(str::to_owned).collect(),
            // By name as well: which site was closed.
            Self::DeactivateSite { site, .. } => vec![format!("sites: {}", site.as_str())],
            Self::SetNumberLock { .. } => vec!["number_moves_locked".to_owned()],
            Self::ReportRerouting { of_record: OfRecord::Number(_), .. } => vec!["numbers_of_record".to_owned()],
            Self::ReportRerouting { of_record: OfRecord::Address(..), .. } => vec!["addresses_of_record".to_owned()],
            Self::DeactivateAccount { .. } => vec!["closed_at".to_owned()],
            Self::CreateContact { .. }
            | Self::DeactivateContact { .. }
            | Self::ReactivateContact { .. }
            | Self::AssignRole { .. }
            | Self::RevokeRole { .. }
            | Self::TransferPrimaryAdmin { .. }
            | Self::CreateAccount { .. } => Vec::new(),
        }
    }

    /// Whether it may be done to a closed account, too: it takes power away, so that who left stays away when it is opened again.
    #[must_use]
    pub fn is_for_closed_accounts(&self) -> bool {
        matches!(self, Self::DeactivateContact { .. } | Self::RevokeRole { .. })
    }

    /// Whether it could leave the account without an administrator.
    #[must_use]
    pub fn may_cost_an_admin(&self) -> bool {
        matches!(self, Self::DeactivateContact { .. } | Self::RevokeRole { .. })
    }
}
