//! The whole role × action × channel × proof matrix, asked through the API: what a reviewer agreed on is what clients get.

use std::{sync::Arc, time::Duration};

use countersign::{
    clock::{Clock, ManualClock},
    directory::{Account, Change, ContactId, RoleAssignment, RoleName, Scope, sample},
    grpc::proto::countersign::v1::{AuthorizeResponse, Channel, Decision, Reason},
    identity::ProofBand,
    interaction,
    policy::{
        Action, Bundle,
        matrix::{self, Condition, Outcome, Row},
    },
};

use crate::{
    answer::decided,
    question::{Question, ask},
    sidecar::{Sidecar, wall_time},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";

/// Who has this role in the sample company, for all of it, and no other; June is given hers by the test.
const PEOPLE: [(&str, &str); 7] = [
    ("super_admin", sample::JUNE),
    ("company_admin", sample::BEN),
    ("it_admin", sample::CHLOE),
    ("vcc_admin", sample::DEV),
    ("my8x8_admin", sample::ELENA),
    ("audit_management_admin", sample::FARID),
    ("basic_user", sample::GRACE),
];

// proves: S4, A15, F4, F13, F14, F16, A23, A31
#[tokio::test]
async fn every_role_gets_on_every_channel_with_every_proof_what_the_matrix_says() {
    let (sidecar, clock) = Sidecar::start_still("").await;
    let grown = Grown { sidecar, clock };
    let a_year_ago = grown.clock.now() - Duration::from_secs(365 * 24 * 3600);
    let role = RoleName::new("super_admin");
    let june =
        RoleAssignment { contact: ContactId::new(sample::JUNE), role, scope: Scope::Company, granted: a_year_ago };
    grown.sidecar.change(vec![Change::AssignRole(june)]).await;
    for (_, contact) in PEOPLE.into_iter().chain([("", sample::ADA)]) {
        grown.sidecar.set_passphrase(Some(contact), PHRASE).await;
    }

    // Every passphrase is new.
    grown.agrees(Condition::CoolOff, &PEOPLE).await;
    grown.clock.advance(Duration::from_secs(25 * 3600));
    grown.agrees(Condition::Ordinary, &PEOPLE).await;
    grown.agrees(Condition::PrimaryAdmin, &[("super_admin", sample::ADA)]).await;
    grown.with_account(Condition::NumberMovesLocked, |account| account.number_moves_locked = true).await;
    grown.with_account(Condition::MarketingApproved, |account| account.marketing_approved = Some(YEARS_AGO)).await;
    grown
        .with_account(Condition::BusinessExemption, |account| {
            account.cpni_exemption.dedicated_representative = true;
            account.cpni_exemption.contract_addresses_cpni = true;
        })
        .await;
    // Half an exemption is none.
    grown.change_account(|account| account.cpni_exemption.dedicated_representative = true).await;
    grown.agrees(Condition::Ordinary, &PEOPLE[..1]).await;
}

const YEARS_AGO: jiff::civil::Date = jiff::civil::date(2020, 2, 29);

/// The sample company, where everybody has a passphrase.
struct Grown {
    sidecar: Sidecar,
    clock: Arc<ManualClock>,
}

impl Grown {
    async fn with_account(&self, condition: Condition, change: impl FnOnce(&mut Account)) {
        self.change_account(change).await;
        self.agrees(condition, &PEOPLE).await;
        self.change_account(|_| ()).await;
    }

    /// Puts Acme as it is in the sample, but for this.
    async fn change_account(&self, change: impl FnOnce(&mut Account)) {
        let contact = ContactId::new(sample::ADA);
        let standing = self.sidecar.directory().find_standing(&contact).await.unwrap().unwrap();
        let mut account = Account {
            number_moves_locked: false,
            cpni_exemption: Default::default(),
            marketing_approved: None,
            closed: None,
            ..standing.account
        };
        change(&mut account);
        self.sidecar.change(vec![Change::PutAccount(account)]).await;
    }

    /// Asks every cell of these people, and compares.
    async fn agrees(&self, condition: Condition, people: &[(&str, &str)]) {
        let bundle = Bundle::embedded().unwrap();
        let actions: Vec<_> = bundle.actions().cloned().collect();
        let rows = matrix::rows(&bundle, condition);
        let mut asked = 0;
        let mut wrong = Vec::new();
        for (role, contact) in people {
            for (channel, proof, answers) in self.answers(contact, &actions).await {
                for (action, answer) in actions.iter().zip(answers) {
                    let row = cell(&rows, action, channel, proof, role);
                    asked += 1;
                    if decided(&answer) != expected(row.outcome) {
                        let (told, proof) = (decided(&answer), proof.code());
                        wrong.push(format!(
                            "{} by {role} on {} with {proof} {}: {told:?} instead of {}",
                            action.name,
                            channel.code(),
                            condition.words(),
                            row.outcome.code(),
                        ));
                    }
                }
            }
        }
        // Three channels without proof, and with an old and a new one.
        assert_eq!(asked, people.len() * actions.len() * 9);
        assert!(wrong.is_empty(), "{} cells differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// All actions at once, on every channel, with every proof that there can be.
    async fn answers(
        &self,
        contact: &str,
        actions: &[Arc<Action>],
    ) -> Vec<(interaction::Channel, ProofBand, Vec<AuthorizeResponse>)> {
        use interaction::Channel::{Chat, Phone, Portal};
        let mut all = Vec::new();
        for channel in [Phone, Portal, Chat] {
            let nobody = ask(wire(channel), "").by(contact);
            all.push((channel, ProofBand::None, self.batch(nobody, channel, actions).await));
        }
        for channel in [Portal, Chat] {
            for (minutes, proof) in [(1, ProofBand::Fresh), (11, ProofBand::Old)] {
                let time = wall_time(&self.clock) - Duration::from_secs(minutes * 60);
                let login = ask(wire(channel), "").by(contact).logged_in_at(time);
                all.push((channel, proof, self.batch(login, channel, actions).await));
            }
        }
        let call = format!("call-{}", uuid::Uuid::new_v4().simple());
        let verify = ask(Channel::Phone, "identity.verify").by(contact).within(&call).saying(PHRASE);
        let verified = self.sidecar.client("probe").insist(verify).await.unwrap();
        let token = verified.verification.expect("the passphrase is right").token;
        let caller = ask(Channel::Phone, "").within(&call).with_token(&token);
        all.push((Phone, ProofBand::ThisCall, self.batch(caller.clone(), Phone, actions).await));
        self.clock.advance(Duration::from_secs(11 * 60));
        all.push((Phone, ProofBand::Old, self.batch(caller, Phone, actions).await));
        all
    }

    async fn batch(
        &self,
        caller: Question,
        channel: interaction::Channel,
        actions: &[Arc<Action>],
    ) -> Vec<AuthorizeResponse> {
        let items = actions.iter().map(|action| Question::about(action, wire(channel)));
        self.sidecar.client("probe").batch_authorize(caller.batch(items)).await.unwrap().results
    }
}

/// Where proof changes nothing there is one row for all.
fn cell<'a>(rows: &'a [Row], action: &Action, channel: interaction::Channel, proof: ProofBand, role: &str) -> &'a Row {
    let mine = |row: &&Row| row.action.name == action.name && row.channel == channel && row.role.as_str() == role;
    let mut cells = rows.iter().filter(mine);
    let exact = cells.clone().find(|row| row.proof == proof);
    exact.or_else(|| cells.find(|row| matches!(row.outcome, Outcome::Open | Outcome::Nobody))).unwrap()
}

fn expected(outcome: Outcome) -> (Decision, Reason) {
    match outcome {
        Outcome::Open => (Decision::Allow, Reason::Open),
        Outcome::Allow => (Decision::Allow, Reason::Permitted),
        Outcome::Prove => (Decision::Challenge, Reason::EvidenceRequired),
        Outcome::Again => (Decision::Challenge, Reason::FreshEvidenceRequired),
        Outcome::Escalate => (Decision::Escalate, Reason::Escalated),
        Outcome::Deny => (Decision::Deny, Reason::NotPermitted),
        Outcome::Nobody => (Decision::Deny, Reason::NotOnThisChannel),
    }
}

fn wire(channel: interaction::Channel) -> Channel {
    match channel {
        interaction::Channel::Phone => Channel::Phone,
        interaction::Channel::Portal => Channel::Portal,
        interaction::Channel::Chat => Channel::Chat,
    }
}
