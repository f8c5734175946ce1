//! Customers to guess at: two accounts for each round, one with four people and one with eight, who all have a passphrase.

use countersign::{
    directory::{
        Account, AccountId, Change, Contact, ContactId, ContactStatus, CpniExemption, RoleAssignment, RoleName, Scope,
    },
    manage::passphrase::Whose,
};
use jiff::Timestamp;

use crate::{passphrase::PHRASE, sidecar::Sidecar};

/// An account of a round.
#[derive(Clone, Copy)]
pub struct Customer {
    round: usize,
    people: u32,
}

/// The round's account of four.
pub fn small(round: usize) -> Customer {
    Customer { round, people: 4 }
}

/// The round's account of eight.
pub fn large(round: usize) -> Customer {
    Customer { round, people: 8 }
}

/// Puts the accounts of so many rounds into the directory.
pub async fn populate(sidecar: &Sidecar, rounds: usize) {
    for customer in (0..rounds).flat_map(|round| [small(round), large(round)]) {
        sidecar.change(customer.changes()).await;
        for number in 0..customer.people {
            let account = AccountId::new(customer.account());
            let whose = Whose { account, contact: Some(ContactId::new(customer.contact(number))) };
            sidecar.set_passphrase_of(whose, PHRASE).await;
        }
    }
}

/// Puts the large accounts of so many rounds into the directory; of each the contacts with these numbers get a passphrase.
pub async fn populate_people(sidecar: &Sidecar, rounds: usize, with_passphrase: &[u32]) {
    for customer in (0..rounds).map(large) {
        sidecar.change(customer.changes()).await;
        for number in with_passphrase {
            let account = AccountId::new(customer.account());
            let whose = Whose { account, contact: Some(ContactId::new(customer.contact(*number))) };
            sidecar.set_passphrase_of(whose, PHRASE).await;
        }
    }
}

impl Customer {
    pub fn account(self) -> String {
        format!("acc-f{}-{}", self.round, self.people)
    }

    /// One of its people, in turn.
    pub fn contact(self, number: u32) -> String {
        format!("con-f{}-{}-{}", self.round, self.people, number % self.people)
    }

    fn changes(self) -> Vec<Change> {
        let account = Change::PutAccount(Account {
            id: AccountId::new(self.account()),
            name: format!("Customer {} of {}", self.round, self.people),
            created: Timestamp::UNIX_EPOCH,
            primary_admin: None,
            numbers_of_record: Vec::new(),
            addresses_of_record: Vec::new(),
            sites: Vec::new(),
            number_moves_locked: false,
            cpni_exemption: CpniExemption::default(),
            marketing_approved: None,
            closed: None,
        });
        let admin = Change::SetPrimaryAdmin {
            account: AccountId::new(self.account()),
            contact: ContactId::new(self.contact(0)),
        };
        let people = (0..self.people).flat_map(|number| self.person(number));
        std::iter::once(account).chain(people).chain([admin]).collect()
    }

    fn person(self, number: u32) -> [Change; 2] {
        let contact = Change::PutContact(Contact {
            id: ContactId::new(self.contact(number)),
            account: AccountId::new(self.account()),
            first_name: format!("Person{number}"),
            last_name: format!("Round{}", self.round),
            email: None,
            extension: Some(format!("{}", 100 + number)),
            user_id: None,
            status: ContactStatus::Active,
            created: Timestamp::UNIX_EPOCH,
        });
        let role = Change::AssignRole(RoleAssignment {
            contact: ContactId::new(self.contact(number)),
            role: RoleName::new("super_admin"),
            scope: Scope::Company,
            granted: Timestamp::UNIX_EPOCH,
        });
        [contact, role]
    }
}
