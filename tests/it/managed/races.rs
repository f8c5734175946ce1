//! What two decide at the same moment over one state, from two sidecars: one of them has decided over what is no more.

use countersign::directory::{Change, ContactId, RoleAssignment, RoleName, Scope};
use jiff::Timestamp;

use super::*;
use crate::{fleet::Fleet, postgres::Database, redis::server::Server, sidecar::PATIENT};

/// Two administrators of Borealis: Karl, who is the primary one, and Lena.
async fn two_admins(sidecar: &Sidecar) {
    sidecar.change(vec![Change::AssignRole(lena_is_admin())]).await;
}

fn lena_is_admin() -> RoleAssignment {
    RoleAssignment {
        contact: ContactId::new(sample::LENA),
        role: RoleName::new("super_admin"),
        scope: Scope::Company,
        granted: Timestamp::UNIX_EPOCH,
    }
}

fn desk(fleet: &Fleet, node: usize, contact: &str) -> Desk {
    let client = Client::new(fleet.nodes[node].client.channel(), Some(fleet.home.token("portal")));
    let login = caller(sample::BOREALIS, contact, SystemTime::now() - Duration::from_secs(5));
    Desk::of(client, directory_actor::By::Caller(login))
}

/// Each takes the other's power away, at the same moment, at another sidecar: exactly one succeeds.
async fn exactly_one_wins(fleet: &Fleet) {
    for round in 0..8 {
        let (karl, lena) = (desk(fleet, 0, sample::KARL), desk(fleet, 1, sample::LENA));
        let (one, other) =
            tokio::join!(karl.revoke(sample::LENA, "super_admin", ""), lena.revoke(sample::KARL, "super_admin", ""));
        let mut answers = [one, other];
        answers.sort();
        // By the time at which the loser is looked at, he has no power any more, or the winner is the last who has.
        let lost = [Answer::NotPermitted, Answer::LastAdmin];
        assert!(answers[0] == Answer::Done && lost.contains(&answers[1]), "round {round}: {answers:?}");
        // Whoever won puts it back for the next round; the carrier does, who is in no cool-off.
        let system = SystemActor { name: "carrier".to_owned() };
        let client = Client::new(fleet.nodes[0].client.channel(), Some(fleet.home.token("carrier")));
        let carrier = Desk::of(client, directory_actor::By::System(system));
        let loser = if one == Answer::Done { sample::LENA } else { sample::KARL };
        assert_eq!(carrier.assign(loser, "super_admin", "").await, Answer::Done);
    }
}

/// One request, sent to two sidecars at the same moment.
async fn is_done_once(fleet: &Fleet) {
    for round in 0..8 {
        let request = || CreateContactRequest {
            request_id: format!("req-{round}"),
            ..creating(sample::BOREALIS, "Nils", "Holm")
        };
        let (one, other) = (desk(fleet, 0, sample::KARL), desk(fleet, 1, sample::KARL));
        let (one, other) = tokio::join!(one.create_contact(request()), other.create_contact(request()));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.answer(), Answer::Done);
        assert_eq!(one, other, "round {round}");
    }
    let filter = ContactFilter { text: "holm".to_owned(), ..ContactFilter::default() };
    let found = desk(fleet, 0, sample::KARL).contacts(sample::BOREALIS, filter, 100).await.1;
    assert_eq!(found.len(), 8, "{found:?}");
}

// proves: S10, S13
#[tokio::test]
async fn of_two_who_revoke_each_other_at_two_sidecars_one_succeeds() {
    let fleet = Fleet::start(2, PATIENT, two_admins).await;
    Box::pin(exactly_one_wins(&fleet)).await;
    Box::pin(is_done_once(&fleet)).await;
}

// proves: S10, S13
#[tokio::test]
async fn of_two_who_revoke_each_other_upon_postgresql_one_succeeds() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let settings = format!("{PATIENT}[redis]\nurl = \"{}\"\n", redis.url());
    let fleet = Fleet::on_postgres(2, &database.address, &settings, two_admins, |_| Vec::new()).await;
    Box::pin(exactly_one_wins(&fleet)).await;
    Box::pin(is_done_once(&fleet)).await;
}
