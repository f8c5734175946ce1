//! Accounts that are closed: by whom, what becomes of their people, and how they come back.

use countersign::{
    audit::record::ChangeRecord,
    grpc::proto::countersign::v1::{
        AccountFilter, AccountSelector, AccountStatus as Status,
        Channel::{Phone, Portal},
        ContactSelector, DeactivateAccountResponse, Interaction, ReadResetRequest, ResetTarget, StartResetRequest,
        Subject, account_selector, contact_selector,
        passphrase_service_client::PassphraseServiceClient,
    },
};

use super::*;
use crate::{answer::is_allowed, passphrase::PHRASE, people::command, question::ask};

over_both_stores! {
    the_primary_administrator_alone_closes_his_account_and_nobody_another_one,
    nothing_verifies_anybody_of_a_closed_account,
    a_system_closes_an_account_once_and_only_takes_away_from_it,
    an_operator_alone_opens_it_again,
}

fn closing(account: &str) -> DeactivateAccountRequest {
    DeactivateAccountRequest { account_id: account.to_owned(), ..DeactivateAccountRequest::default() }
}

impl Desk {
    async fn closes(&self, request: DeactivateAccountRequest) -> DeactivateAccountResponse {
        let request = DeactivateAccountRequest { actor: self.actor(), ..request };
        let answer = patiently(self.stub.clone().deactivate_account(self.client.with_token(request))).await;
        answer.unwrap().into_inner()
    }

    async fn close_account(&self, account: &str) -> Answer {
        self.closes(closing(account)).await.answer()
    }

    async fn of_status(&self, status: Status) -> Vec<String> {
        let request = ListAccountsRequest {
            actor: self.actor(),
            filter: Some(AccountFilter { status: status.into() }),
            ..ListAccountsRequest::default()
        };
        let page = patiently(self.stub.clone().list_accounts(self.client.with_token(request))).await.unwrap();
        page.into_inner().accounts.into_iter().map(|account| account.id).collect()
    }
}

// proves: S12, A16, A25, A28
async fn the_primary_administrator_alone_closes_his_account_and_nobody_another_one(world: World) {
    let ada = || world.portal(sample::ADA);
    for other in [sample::BEN, sample::CHLOE, sample::ELENA, sample::GRACE, sample::HANA, sample::JUNE] {
        assert_eq!(world.portal(other).close_account(sample::ACME).await, Answer::NotPermitted, "{other}");
    }
    assert_eq!(world.system("hr").close_account(sample::ACME).await, Answer::NotPermitted, "a Company Admin");
    for other in [sample::BOREALIS, "acc-none"] {
        assert_eq!(ada().close_account(other).await, Answer::NotFound, "{other}");
    }
    assert_eq!(world.portal_of(sample::BOREALIS, sample::KARL).close_account(sample::ACME).await, Answer::NotFound);
    assert_eq!(world.portal(sample::IVAN).close_account(sample::ACME).await, Answer::NotVerified);
    // A Super Admin who does not answer for the account does not close it.
    assert_eq!(ada().assign(sample::JUNE, "super_admin", "").await, Answer::Done);
    world.clock.advance(25 * HOUR);
    assert_eq!(world.portal(sample::JUNE).close_account(sample::ACME).await, Answer::NotPermitted);
    let cause = world.records().pop().unwrap().cause;
    assert_eq!(cause.as_deref(), Some("account.close: owner-closes"));
    let long_ago = ada().logged_in_at(wall_time(&world.clock) - 11 * MINUTE);
    assert_eq!(long_ago.close_account(sample::ACME).await, Answer::FreshLoginRequired);

    let stale = ada().closes(DeactivateAccountRequest { etag: "7".to_owned(), ..closing(sample::ACME) }).await;
    assert_eq!((stale.answer(), stale.account), (Answer::ChangedMeanwhile, None));
    let revision = world.sidecar.revision().await;
    let asked = ada().closes(DeactivateAccountRequest { validate_only: true, ..closing(sample::ACME) }).await;
    assert_eq!((asked.answer(), asked.account.unwrap().status()), (Answer::Done, Status::Closed));
    let open = ada().account(sample::ACME).await.1.unwrap();
    assert_eq!((open.status(), open.closed_at, world.sidecar.revision().await), (Status::Active, None, revision));

    let request = || DeactivateAccountRequest {
        etag: open.etag.clone(),
        request_id: "req-1".to_owned(),
        ..closing(sample::ACME)
    };
    let closed = ada().closes(request()).await;
    let shown = closed.account.clone().unwrap();
    assert_eq!((closed.answer(), shown.status(), shown.closed_at.is_some()), (Answer::Done, Status::Closed, true));
    assert_ne!(shown.etag, open.etag);
    let record = world.records().pop().unwrap();
    assert_eq!((record.outcome.as_str(), record.fields), ("done", vec!["closed_at".to_owned()]));
    for address in ["ada.moreno@acme.example", "billing@acme.example"] {
        assert!(world.was_told("account_closed", address).await, "{address}");
    }
    // From then on he is nobody, also when he asks the same again.
    assert_eq!(ada().closes(request()).await.answer(), Answer::NotVerified);
    assert_eq!(ada().account(sample::ACME).await, (Answer::NotVerified, None));
    assert_eq!(ada().accounts(10).await, (Answer::NotVerified, Vec::new()));
    assert_eq!(ada().contact(sample::ADA).await, (Answer::NotVerified, None));
    assert_eq!(world.portal_of(sample::BOREALIS, sample::KARL).account(sample::BOREALIS).await.0, Answer::Done);
}

// proves: S12, A13, A22, F8
async fn nothing_verifies_anybody_of_a_closed_account(world: World) {
    let sidecar = &world.sidecar;
    sidecar.set_passphrase(Some(sample::ADA), PHRASE).await;
    sidecar.set_passphrase(None, PHRASE).await;
    let (ivr, portal) = (sidecar.client("ivr"), sidecar.client("portal"));
    let by_phrase = |call: &str| ask(Phone, "account.view").by(sample::ADA).within(call).saying(PHRASE);
    let proved = ivr.insist(by_phrase("call-1")).await.unwrap();
    assert!(is_allowed(&proved), "{proved:?}");
    let by_token =
        || ask(Phone, "account.view").within("call-1").with_token(&proved.verification.as_ref().unwrap().token);
    assert!(is_allowed(&ivr.authorize(by_token()).await.unwrap()));
    let by_login = || ask(Portal, "account.view").by(sample::BEN).logged_in_at(wall_time(&world.clock));
    assert!(is_allowed(&portal.authorize(by_login()).await.unwrap()));
    let account = AccountSelector { by: Some(account_selector::By::Id(sample::ACME.to_owned())) };
    let contact = ContactSelector { by: Some(contact_selector::By::Id(sample::ADA.to_owned())) };
    let mut stub = PassphraseServiceClient::new(ivr.channel());
    let starting = |call: &str| StartResetRequest {
        interaction: Some(Interaction { channel: Phone.into(), id: call.to_owned(), ..Interaction::default() }),
        subject: Some(Subject { account: Some(account.clone()), contact: Some(contact.clone()) }),
        target: ResetTarget::Number.into(),
        request_id: String::new(),
    };
    let started = patiently(stub.start_reset(ivr.with_token(starting("call-2")))).await.unwrap().into_inner();
    let mailroom = sidecar.client("mailroom");
    let read = async |reset_id: &str| {
        let request = ReadResetRequest { reset_id: reset_id.to_owned(), request_id: String::new() };
        let mut stub = PassphraseServiceClient::new(mailroom.channel());
        patiently(stub.read_reset(mailroom.with_token(request))).await.unwrap().into_inner().code
    };
    assert_eq!(read(&started.reset_id).await.len(), 10);

    // Ada's passphrase is new, so that she would wait.
    assert_eq!(world.system("carrier").close_account(sample::ACME).await, Answer::Done);
    for question in [by_phrase("call-3"), by_token()] {
        let answer = ivr.insist(question).await.unwrap();
        assert!(!is_allowed(&answer) && answer.verified.is_none(), "{answer:?}");
    }
    let login = portal.authorize(by_login()).await.unwrap();
    assert!(!is_allowed(&login) && login.verified.is_none(), "{login:?}");
    // A code of before is none, and a new one has nothing behind it; whoever asks sees no difference.
    assert_eq!(read(&started.reset_id).await, "");
    let again = patiently(stub.start_reset(ivr.with_token(starting("call-4")))).await.unwrap().into_inner();
    assert_eq!(read(&again.reset_id).await, "");
    // Nor does an operator set one.
    let set = sidecar.try_to_set_passphrase(sample::ADA, PHRASE).await.unwrap_err();
    assert!(set.to_string().contains("account: is closed"), "{set}");
}

// proves: S12, A16
async fn a_system_closes_an_account_once_and_only_takes_away_from_it(world: World) {
    let carrier = || world.system("carrier");
    let request = || DeactivateAccountRequest { request_id: "req-1".to_owned(), ..closing(sample::ACME) };
    let first = carrier().closes(request()).await;
    assert_eq!(first.answer(), Answer::Done);
    let after = world.sidecar.revision().await;
    assert_eq!(carrier().closes(request()).await, first, "the same request");
    let again = carrier().closes(closing(sample::ACME)).await;
    assert_eq!((again.answer(), again.account.as_ref()), (Answer::Done, first.account.as_ref()), "another one");
    assert_eq!(world.sidecar.revision().await, after, "nothing is done twice");
    assert_eq!(carrier().close_account("acc-none").await, Answer::NotFound);

    assert_eq!(carrier().of_status(Status::Closed).await, [sample::ACME]);
    assert_eq!(carrier().of_status(Status::Active).await, [sample::BOREALIS]);
    assert_eq!(carrier().of_status(Status::Unspecified).await, [sample::ACME, sample::BOREALIS]);
    let masked = carrier().account_with(sample::ACME, &["status", "closed_at"]).await.unwrap().1.unwrap();
    assert_eq!((masked.status(), masked.closed_at.is_some(), masked.name.as_str()), (Status::Closed, true, ""));

    // Nothing more comes to it …
    let closed = (Answer::Invalid, "account_id".to_owned());
    let renamed = AccountProfileOf("Acme");
    assert_eq!(carrier().update_account(renamed.request()).await.map(|it| (it.answer(), it.field)).unwrap(), closed);
    let created = carrier().create_contact(creating(sample::ACME, "Nils", "Holm")).await.unwrap();
    assert_eq!((created.answer(), created.field), closed);
    let profile = ContactProfile { last_name: "X".to_owned(), ..ContactProfile::default() };
    assert_eq!(carrier().update(sample::GRACE, profile, &["last_name"]).await, closed);
    let granted = carrier().assign_role(assigning(sample::GRACE, "it_admin", "")).await.unwrap();
    assert_eq!((granted.answer(), granted.field), closed);
    assert_eq!(carrier().transfer(sample::ACME, sample::BEN).await, Answer::NotPermitted, "the owner's to do");
    // … nor is who may not change it told that it is closed.
    assert_eq!(world.system("hr").assign(sample::GRACE, "super_admin", "").await, Answer::NotPermitted);
    // Who leaves meanwhile leaves, so that he is not back with the account.
    assert_eq!(carrier().deactivate(sample::GRACE).await, Answer::Done);
    assert_eq!(carrier().revoke(sample::CHLOE, "it_admin", "").await, Answer::Done);
    assert_eq!(carrier().contact(sample::CHLOE).await.1.unwrap().status(), ContactStatus::Active, "as it was");

    // Nothing is amiss in it, and it is counted.
    let review = command(&world.sidecar.home, &["review", "--all"]).await;
    let said = String::from_utf8(review.stdout).unwrap();
    assert!(
        said.contains("2 accounts with 12 contacts\n1 of the accounts are closed") && !said.contains(sample::ACME),
        "{said}"
    );
    let listed = people::shown(&world.sidecar.home, &["account", "list"]).await;
    assert!(listed.lines().any(|line| line.contains(sample::ACME) && line.contains("closed")), "{listed}");
}

/// A new name of Acme.
struct AccountProfileOf(&'static str);

impl AccountProfileOf {
    fn request(&self) -> UpdateAccountRequest {
        let profile =
            countersign::grpc::proto::countersign::v1::AccountProfile { name: self.0.to_owned(), ..Default::default() };
        UpdateAccountRequest {
            account_id: sample::ACME.to_owned(),
            profile: Some(profile),
            update_mask: masked(&["name"]),
            ..UpdateAccountRequest::default()
        }
    }
}

// proves: A31, S13
async fn an_operator_alone_opens_it_again(world: World) {
    let home = &world.sidecar.home;
    let said = async |arguments: &[&str]| {
        let output = command(home, arguments).await;
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(said(&["account", "deactivate", sample::ACME]).await, (Some(0), "closed\n".to_owned()));
    assert_eq!(said(&["account", "deactivate", sample::ACME]).await, (Some(0), "was closed before\n".to_owned()));
    assert_eq!(world.portal(sample::ADA).account(sample::ACME).await.0, Answer::NotVerified);
    let assign = ["role", "assign", "--contact", sample::JUNE, "--role", "super_admin"];
    let (code, why) = said(&assign).await;
    assert!(code == Some(1) && why.contains("account: is closed"), "{why}");
    let set = ["contact", "deactivate", sample::GRACE];
    assert_eq!(said(&set).await, (Some(0), "deactivated\n".to_owned()));
    let facts = people::shown(home, &["account", "show", sample::ACME]).await;
    assert!(facts.contains("closed since"), "{facts}");

    assert_eq!(said(&["account", "reactivate", sample::ACME]).await, (Some(0), "opened again\n".to_owned()));
    assert_eq!(said(&["account", "reactivate", sample::ACME]).await, (Some(0), "was open before\n".to_owned()));
    let ada = world.portal(sample::ADA);
    let account = ada.account(sample::ACME).await.1.unwrap();
    assert_eq!((account.status(), account.primary_admin_contact_id.as_str()), (Status::Active, sample::ADA));
    assert_eq!(ada.contact(sample::GRACE).await.1.unwrap().status(), ContactStatus::Inactive, "who left meanwhile");
    // His roles are new ones, so that what a thief wants waits for a day.
    assert_eq!(ada.assign(sample::JUNE, "basic_user", "").await, Answer::NotPermitted);
    assert_eq!(world.records().pop().unwrap().cause.as_deref(), Some("role.grant: cool-off"));
    world.clock.advance(25 * HOUR);
    assert_eq!(world.portal(sample::ADA).assign(sample::JUNE, "basic_user", "").await, Answer::Done);
    let what: Vec<String> = changes(home).into_iter().map(|change| change.what).collect();
    assert!(
        what.iter().any(|what| what == "account_closed") && what.iter().any(|what| what == "account_reopened"),
        "{what:?}"
    );
}

fn changes(home: &Home) -> Vec<ChangeRecord> {
    let of_this = |record| if let Record::Change(change) = record { Some(change) } else { None };
    home.records().into_iter().filter_map(of_this).collect()
}
