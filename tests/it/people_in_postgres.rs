//! Whole sidecars whose people are in a real PostgreSQL and whose attempts are counted in a real Redis.

use std::{path::Path, sync::Arc};

use countersign::{
    clock::SystemClock,
    directory::{ContactStatus, postgres::Address, sample},
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, EndInteractionRequest, ReadDeliveryRequest, Reason,
    },
};

use crate::{
    answer::{decided, invalid_field},
    postgres::{self, Database},
    question::{Question, ask},
    redis::{server::Server, vouch},
    sidecar::{Home, PATIENT, Sidecar, eventually},
};

const PHRASE: &str = "violet anchor sleeping harbor tune";
const WRONG: &str = "nothing of the kind whatever";
const PERMITTED: (Decision, Reason) = (Decision::Allow, Reason::Permitted);

fn keys_of(home: &Home) -> std::path::PathBuf {
    home.data().with_file_name("keys")
}

fn copy_keys(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn settings(people: &Address, counters: &Server) -> String {
    format!("{PATIENT}[redis]\nurl = \"{}\"\n[postgres]\nurl = \"{}\"\n", counters.url(), postgres::url(people))
}

async fn started(home: Home, settings: &str) -> Sidecar {
    Sidecar::start_at(home, settings, Arc::new(SystemClock::start())).await
}

fn call(interaction: &str, phrase: &str) -> Question {
    ask(Phone, "account.view").by(sample::ADA).within(interaction).saying(phrase)
}

// proves: S12, A6, A14
#[tokio::test]
async fn what_is_changed_through_one_sidecar_is_decided_by_at_the_other() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let settings = settings(&database.address, &redis);
    let first = started(Home::with_keys(), &settings).await;
    let home = Home::new();
    copy_keys(&keys_of(&first.home), &keys_of(&home));
    let second = started(home, &settings).await;
    first.set_passphrase(Some(sample::ADA), PHRASE).await;
    let (ivr, other) = (first.client("ivr"), second.client("ivr"));
    assert_eq!(decided(&ivr.insist(call("1", PHRASE)).await.unwrap()), PERMITTED);
    vouch(&redis);

    // Three tries of one call, wherever they are made.
    for (client, left) in [(&ivr, 2), (&other, 1)] {
        let answer = client.insist(call("2", WRONG)).await.unwrap();
        assert_eq!(answer.challenge.unwrap().attempts_left, Some(left));
    }
    assert_eq!(decided(&ivr.insist(call("2", WRONG)).await.unwrap()), (Decision::Deny, Reason::NotVerified));
    assert_eq!(decided(&other.insist(call("2", PHRASE)).await.unwrap()), (Decision::Deny, Reason::NotVerified));

    // Who leaves at one leaves at both, by login as by passphrase, although the other remembers him.
    let login = ask(Portal, "account.view").by(sample::BEN).logged_in();
    let portal = second.client("portal");
    assert_eq!(decided(&portal.authorize(login.clone()).await.unwrap()), PERMITTED);
    first.change(vec![first.with_status(sample::BEN, ContactStatus::Inactive).await]).await;
    let refused = eventually(async || {
        let answer = decided(&portal.authorize(login.clone()).await.unwrap());
        (answer == (Decision::Deny, Reason::NotVerified)).then_some(())
    });
    Box::pin(refused).await;
}

// proves: A30
#[tokio::test]
async fn a_nul_in_an_id_is_refused_by_name_before_either_store_is_asked() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let embedded = Sidecar::start().await;
    let shared = started(Home::with_keys(), &settings(&database.address, &redis)).await;
    for sidecar in [&embedded, &shared] {
        let (probe, nul) = (sidecar.client("probe"), "a\0b".to_owned());
        let plain = || ask(Phone, "general.ask");
        let questions = [
            (plain().within(&nul), "interaction.id"),
            (
                plain().having(|request| request.interaction.get_or_insert_default().agent_id = nul.clone()),
                "interaction.agent_id",
            ),
            (plain().by_contact_of(&nul, "con-1001"), "subject.account.id"),
            (plain().by_contact_of(sample::ACME, &nul), "subject.contact.id"),
            (plain().upon("order", &nul), "resource.id"),
            (plain().upon("order", "o-1").at_site(&nul), "resource.site"),
            (plain().having(|request| request.request_id = nul.clone()), "request_id"),
            (plain().having(|request| request.approved_escalation_id = nul.clone()), "approved_escalation_id"),
        ];
        for (question, field) in questions {
            assert_eq!(invalid_field(probe.authorize(question).await), field);
        }
        let request = EndInteractionRequest { interaction_id: nul.clone(), ..EndInteractionRequest::default() };
        assert_eq!(invalid_field(probe.end_interaction(request).await), "interaction_id");
        let request = ReadDeliveryRequest { decision_id: nul.clone(), ..ReadDeliveryRequest::default() };
        assert_eq!(invalid_field(probe.read_delivery(request).await), "decision_id");
    }
}
