//! `countersign policy explain` and `policy matrix`: why something is decided so, and what a change changes.

use std::fs;

use countersign::{
    directory::sample,
    grpc::proto::countersign::v1::{Channel::Portal, Decision},
    policy::{Bundle, matrix},
};
use serde_json::Value;

use super::commands::{edit, failed, json, new_bundle};
use crate::{
    process::run,
    question::ask,
    sidecar::{Sidecar, loopback},
};

#[test]
fn a_request_is_explained_up_to_the_step_that_decided() {
    let order = |more: &[&str]| {
        let fixed = ["policy", "explain", "--json", "--action", "order.place", "--channel", "phone"];
        json(&[&fixed, more].concat(), 0)
    };
    let steps = |explained: &Value| -> Vec<String> {
        let steps = explained["steps"].as_array().unwrap().iter();
        steps.map(|step| step["step"].as_str().unwrap().to_owned()).collect()
    };
    let stranger = order(&[]);
    assert_eq!((&stranger["decision"], &stranger["cause"]), (&"CHALLENGE".into(), &"no_evidence".into()));
    assert_eq!(steps(&stranger), ["action", "proof needed", "proof shown"]);

    let weak = order(&["--role", "my8x8_admin", "--proof", "fresh"]);
    assert_eq!(weak["reason"], "FRESH_EVIDENCE_REQUIRED");
    assert_eq!(steps(&weak), ["action", "proof needed", "proof shown", "roles", "rules", "better proof"]);
    let rule = &weak["rules"][0];
    assert_eq!((&rule["id"], &rule["file"]), (&"orders-this-call".into(), &"evidence.cedar".into()));
    let shipped = fs::read_to_string("policies/evidence.cedar").unwrap();
    let line = usize::try_from(rule["line"].as_u64().unwrap()).unwrap();
    assert_eq!(shipped.lines().nth(line - 1), Some("@id(\"orders-this-call\")"));
    assert!(rule["text"].as_str().unwrap().contains("context.channel == Channel::\"PHONE\""), "{rule}");

    // What is said to be enough is enough.
    for enough in weak["enough"].as_array().unwrap() {
        let proof = enough["proof"].as_str().unwrap().to_lowercase().replace('_', "-");
        let channel = enough["channel"].as_str().unwrap().to_lowercase();
        for role in enough["roles"].as_array().unwrap() {
            let asked = ["--action", "order.place", "--channel", &channel, "--role", role.as_str().unwrap()];
            let explained = json(&[&["policy", "explain", "--json", "--proof", &proof], &asked[..]].concat(), 0);
            assert_eq!(explained["decision"], "ALLOW", "{enough}");
        }
    }
    let stopped = order(&["--role", "super_admin", "--proof", "this-call", "--in-cool-off"]);
    assert_eq!(stopped["also"], Value::from(vec!["the end of the cool-off"]));
}

#[test]
fn what_is_put_before_the_administrator_depends_on_his_roles() {
    let fixed = ["policy", "explain", "--json", "--action", "user.change", "--channel", "portal", "--proof", "fresh"];
    assert_eq!(json(&[&fixed[..], &["--role", "basic_user"]].concat(), 0)["decision"], "ESCALATE");
    let powerless = json(&[&fixed[..], &["--role", "basic_user", "--admin-role", "basic_user"]].concat(), 0);
    assert_eq!(powerless["decision"], "DENY");
    let elsewhere = json(&[&fixed[..], &["--role", "it_admin@west", "--site", "hq", "--primary-admin"]].concat(), 0);
    assert_eq!(elsewhere["decision"], "DENY");
    let there = json(&[&fixed[..], &["--role", "it_admin@west", "--site", "west"]].concat(), 0);
    assert_eq!(there["decision"], "ALLOW");
}

#[test]
fn what_does_not_fit_the_bundle_is_refused_by_name() {
    let explain = |more: &[&str]| failed(&[&["policy", "explain", "--channel", "phone"], more].concat());
    assert!(explain(&["--action", "order.plaice"]).contains("no action order.plaice"));
    assert!(explain(&["--action", "order.place", "--role", "boss"]).contains("no role boss; it has super_admin"));
    assert!(explain(&["--action", "order.place", "--attribute", "sum=1"]).contains("no attribute sum"));
    assert!(explain(&["--action", "order.place", "--attribute", "amount_minor=ten"]).contains("a whole number"));
    let login = ["--action", "order.place", "--method", "portal-login", "--proof", "this-call"];
    assert!(explain(&login).contains("is never THIS_CALL"));
}

#[tokio::test]
async fn a_recorded_decision_is_explained_from_the_audit() {
    let sidecar = Sidecar::start().await;
    let portal = sidecar.client("portal");
    let question = ask(Portal, "user.change").upon("user", "u-1").by(sample::GRACE).logged_in();
    let answer = portal.authorize(question).await.unwrap();
    assert_eq!(answer.decision(), Decision::Escalate);
    let config = sidecar.home.config_file(loopback(0), "");
    let config = config.to_str().unwrap();
    let explain = |id: &str| {
        let arguments = ["policy", "explain", "--decision", id, "--config", config, "--json"].map(str::to_owned);
        tokio::task::spawn_blocking(move || run(&arguments.each_ref().map(String::as_str), ""))
    };
    let told = |output: std::process::Output| -> Value {
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let running = told(explain(&answer.decision_id).await.unwrap());
    assert_eq!((&running["decision"], &running["cause"]), (&"ESCALATE".into(), &"put_before_primary_admin".into()));
    let said = running["steps"].to_string();
    assert!(said.contains(sample::GRACE) && said.contains("basic_user") && said.contains("portal_login"), "{said}");
    assert!(running["enough"].to_string().contains("it_admin"), "{running}");
    assert_eq!(running["note"], Value::Null, "the bundle is the one that decided");
    assert_eq!(explain("no-such-decision").await.unwrap().status.code(), Some(3));

    let id = answer.decision_id;
    let home = sidecar.stop().await;
    assert_eq!(told(explain(&id).await.unwrap()), running, "from the files as from the sidecar");
    drop(home);
}

#[test]
fn the_matrix_is_printed_and_what_differs_is_told_as_diff_tells_it() {
    let printed = run(&["policy", "matrix"], "");
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_eq!(printed, matrix::render(&Bundle::embedded().unwrap()));

    let (home, folder) = new_bundle();
    let saved = home.path().join("before.txt");
    fs::write(&saved, &printed).unwrap();
    let (_other_home, before) = new_bundle();
    let same = run(&["policy", "matrix", &folder, "--diff", &before], "");
    assert_eq!((same.status.code(), same.stdout.len()), (Some(0), 0));

    edit(&folder, "roles.cedar", "Action::\"device.change\"]", "Action::\"device.change\", Action::\"case.open\"]");
    let mut told = Vec::new();
    for old in [saved.to_str().unwrap(), &before] {
        let differs = run(&["policy", "matrix", &folder, "--diff", old], "");
        assert_eq!(differs.status.code(), Some(1), "{differs:?}");
        told.push(String::from_utf8(differs.stdout).unwrap());
        assert_eq!(json(&["policy", "matrix", &folder, "--diff", old, "--json"], 1)["differs"], true);
    }
    assert_eq!(told[0], told[1]);
    let tables: Vec<&str> = told[0].lines().filter(|line| line.starts_with(" case.") || line.contains("(")).collect();
    assert!(tables.len() == 1 && tables[0].trim_start().starts_with("case.open (CHANGE)"), "{}", told[0]);
    assert!(told[0].contains("-  it_admin") && told[0].contains("+  it_admin"), "{}", told[0]);

    let trouble = run(&["policy", "matrix", "--diff", &format!("{folder}/actions.toml")], "");
    assert_eq!(trouble.status.code(), Some(2), "{trouble:?}");
    let cells = json(&["policy", "matrix", "--json"], 0);
    assert!(cells["cells"].as_array().unwrap().len() > 400);
}
