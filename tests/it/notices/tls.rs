//! On the way to whoever delivers: nobody else reads it, and nobody else takes it.

use super::*;

/// What is said of the one notice that waits, once an attempt failed.
async fn why_it_waits(sidecar: &Sidecar) -> String {
    let listed = eventually(async || {
        let listed = said(sidecar, &["--json", "--state", "pending"]).await;
        listed.contains("last_error\":\"").then_some(listed)
    })
    .await;
    let notice: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    notice["last_error"].as_str().unwrap().to_owned()
}

fn over_https(receiver: &Receiver, host: &str, ca: &str) -> String {
    let settings = receiver.settings(SOON).replace("http://127.0.0.1", &format!("https://{host}"));
    format!("{settings}ca_file = \"{}\"\n", receiver.path(ca).display())
}

// proves: F10
#[tokio::test]
async fn a_notice_is_posted_over_https_to_whom_our_authority_vouches_for() {
    for host in ["localhost", "127.0.0.1"] {
        let receiver = Receiver::with("200", Some("server"));
        let sidecar = Sidecar::start_with(&over_https(&receiver, host, "ca.pem")).await;
        change_email(&sidecar, "one@acme.example").await;
        let got = eventually(async || Some(receiver.got()).filter(|got| !got.is_empty())).await;
        assert_eq!((&got[0]["is_tls"], &got[0]["is_signed"]), (&true.into(), &true.into()), "{host}");
        sidecar.stop().await;
    }
}

// proves: F10
#[tokio::test]
async fn a_receiver_that_is_another_gets_no_notice() {
    // Of another authority, of another name, and one that the web trusts or nobody.
    for (certificate, ca, why) in
        [("server", "other-ca.pem", "UnknownIssuer"), ("elsewhere", "ca.pem", "NotValidForName")]
    {
        let receiver = Receiver::with("200", Some(certificate));
        let sidecar = Sidecar::start_with(&over_https(&receiver, "localhost", ca)).await;
        change_email(&sidecar, "one@acme.example").await;
        let said = why_it_waits(&sidecar).await;
        assert!(said.contains(why) || said.contains("not valid for name"), "{certificate}: {said}");
        assert_eq!(receiver.got(), Vec::<Value>::new(), "{certificate}");
        sidecar.stop().await;
    }
}

// proves: F10
#[tokio::test]
async fn mail_is_protected_from_the_first_byte_where_the_relay_wants_it() {
    let relay = Relay::start("implicit");
    let sidecar = Sidecar::start_with(&relay.settings("implicit", "ca.pem")).await;
    change_email(&sidecar, "one@acme.example").await;
    let got = eventually(async || Some(lines(&relay.path("log"))).filter(|got| !got.is_empty())).await;
    assert_eq!((&got[0]["is_tls"], &got[0]["is_authenticated"]), (&true.into(), &true.into()));
    sidecar.stop().await;
}

// proves: F10
#[tokio::test]
async fn nothing_is_said_to_a_relay_that_is_another_or_that_somebody_has_stripped_of_its_protection() {
    for (relay, settings, ca) in [
        ("implicit", "implicit", "other-ca.pem"),
        ("starttls", "starttls", "other-ca.pem"),
        ("stripped", "starttls", "ca.pem"),
    ] {
        let at = Relay::start(relay);
        let sidecar = Sidecar::start_with(&at.settings(settings, ca)).await;
        change_email(&sidecar, "one@acme.example").await;
        let why = why_it_waits(&sidecar).await;
        assert!(!why.contains("acme.example"), "{why}");
        assert_eq!(lines(&at.path("log")), Vec::<Value>::new(), "{relay} with {ca}: {why}");
        sidecar.stop().await;
    }
}
