//! What is amiss in an account is shown to who answers for its people, as the operator's command shows it.

use super::*;

over_both_stores! {
    an_administrator_reviews_his_own_account_and_finds_what_the_operator_finds,
    a_system_reviews_every_account_by_its_roles,
    nobody_else_reviews_anything,
}

/// The answer, what was found, and how many accounts and contacts were looked at.
type Review = (Answer, Vec<ReviewFinding>, (u64, u64));

/// A review read to its end.
async fn reviewed(desk: &Desk, account: &str) -> Result<Review, Status> {
    let request =
        ReviewAccountRequest { actor: desk.actor(), account_id: account.to_owned(), ..ReviewAccountRequest::default() };
    let mut stub = desk.stub.clone();
    let mut parts = patiently(stub.review_account(desk.client.with_token(request))).await?.into_inner();
    let first = patiently(parts.message()).await?.unwrap();
    assert!(!first.decision_id.is_empty() && first.findings.is_empty());
    let (mut findings, mut looked_at) = (Vec::new(), (0, 0));
    while let Some(part) = patiently(parts.message()).await? {
        assert_eq!((&part.decision_id, part.answer), (&first.decision_id, first.answer));
        looked_at = (looked_at.0 + part.accounts, looked_at.1 + part.contacts);
        findings.extend(part.findings);
    }
    assert!(first.answer() != Answer::Done || first.contacts_total == looked_at.1);
    Ok((first.answer(), findings, looked_at))
}

/// Kind, account, contact and detail of a finding.
type Line = (String, String, String, String);

/// What `countersign review` finds, through the same sidecar.
async fn found_by_the_operator(world: &World, account: &str) -> Vec<Line> {
    let mut command = std::process::Command::new(crate::process::BINARY);
    command.args(["review", account, "--json", "--config"]).arg(world.sidecar.home.config());
    let said = tokio::task::spawn_blocking(move || crate::tools::run(&mut command)).await.unwrap().unwrap();
    let finding = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (text("kind"), text("account"), text("contact"), text("detail"))
    };
    said.lines().map(finding).collect()
}

fn told(findings: &[ReviewFinding]) -> Vec<Line> {
    findings.iter().cloned().map(|it| (it.kind, it.account_id, it.contact_id, it.detail)).collect()
}

// proves: S11, S12, S13, S14, A16
async fn an_administrator_reviews_his_own_account_and_finds_what_the_operator_finds(world: World) {
    for admin in [sample::ADA, sample::BEN] {
        let desk = world.portal(admin);
        let (answer, findings, looked_at) = reviewed(&desk, sample::ACME).await.unwrap();
        assert_eq!((answer, looked_at), (Answer::Done, (1, 10)));
        assert!(
            findings.iter().any(|it| it.kind == "left_with_roles" && it.contact_id == sample::IVAN),
            "{findings:?}"
        );
        assert!(findings.iter().all(|it| it.severity != 0 && !it.meaning.is_empty() && !it.remedy.is_empty()));
        assert_eq!(told(&findings), found_by_the_operator(&world, sample::ACME).await);
        assert_eq!(reviewed(&desk, "").await.unwrap().1, findings, "his own, if he names none");
        for other in [sample::BOREALIS, "acc-none"] {
            assert_eq!(reviewed(&desk, other).await.unwrap(), (Answer::NotFound, Vec::new(), (0, 0)), "{other}");
        }
    }
    let record = world.records().into_iter().find(|record| record.call.rpc == "ReviewAccount").unwrap();
    assert_eq!((record.outcome.as_str(), record.person.contact.unwrap().as_str()), ("done", sample::ADA));
}

// proves: S12, A16
async fn a_system_reviews_every_account_by_its_roles(world: World) {
    let (answer, all, (accounts, _)) = reviewed(&world.system("hr"), "").await.unwrap();
    assert_eq!((answer, accounts), (Answer::Done, 2));
    for account in [sample::ACME, sample::BOREALIS] {
        let (_, findings, _) = reviewed(&world.system("carrier"), account).await.unwrap();
        assert!(!findings.is_empty());
        let of_this: Vec<_> = all.iter().filter(|it| it.account_id == account).cloned().collect();
        assert_eq!(findings, of_this);
    }
    assert_eq!(reviewed(&world.system("hr"), "acc-none").await.unwrap().0, Answer::NotFound);
}

// proves: S4, A28
async fn nobody_else_reviews_anything(world: World) {
    for other in [sample::CHLOE, sample::ELENA, sample::FARID, sample::GRACE, sample::HANA, sample::JUNE] {
        let refused = (Answer::NotPermitted, Vec::new(), (0, 0));
        assert_eq!(reviewed(&world.portal(other), sample::ACME).await.unwrap(), refused, "{other}");
    }
    let nobody = (Answer::NotVerified, Vec::new(), (0, 0));
    assert_eq!(reviewed(&world.portal(sample::IVAN), sample::ACME).await.unwrap(), nobody);
    let refused = reviewed(&world.system("portal"), "").await.unwrap_err();
    assert_eq!(refusal(&refused).0, Code::PermissionDenied);
    let desk = world.portal(sample::ADA);
    let request = ReviewAccountRequest { actor: desk.actor(), idle_days: 4000, ..ReviewAccountRequest::default() };
    let malformed = patiently(desk.stub.clone().review_account(desk.client.with_token(request))).await;
    assert_eq!(invalid_field(malformed.map(drop)), "idle_days");
}
