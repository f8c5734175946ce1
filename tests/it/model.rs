//! Random management of people against a model of a few lines: after each step the sidecar decides as the model does, over both
//! stores. Roles and leavers go through the API, on behalf of a system that may all of it; who comes back, and who answers for the
//! account, through the store, for no system may either.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use countersign::{
    clock::SystemClock,
    directory::{AccountId, Change, ContactId, ContactStatus, Scope, sample},
    grpc::proto::countersign::v1::{
        Channel::{Phone, Portal},
        Decision, DirectoryAnswer as Answer, PassphraseAnswer, PassphraseKind, SystemActor, directory_actor,
    },
};

use crate::{
    fleet::Seed,
    managed,
    own_passphrase::Desk,
    postgres::{self, Database},
    question::{Question, ask},
    redis::server::Server,
    sidecar::{Home, Sidecar},
};

const PEOPLE: [&str; 5] = [sample::ADA, sample::BEN, sample::CHLOE, sample::GRACE, sample::JUNE];
const ROLES: [&str; 5] = ["super_admin", "company_admin", "it_admin", "vcc_admin", "basic_user"];
/// Those who can let others in.
const ADMINS: [&str; 2] = ["super_admin", "company_admin"];
const SITES: [Option<&str>; 3] = [None, Some(sample::SITE_HQ), Some(sample::SITE_WEST)];
/// What is asked, and the roles that reach it.
const ACTIONS: [(&str, &str, &[&str]); 4] = [
    ("account.view", "account", &["super_admin", "company_admin"]),
    ("device.change", "device", &["super_admin", "company_admin", "it_admin"]),
    ("contact_center.configure", "contact_center", &["super_admin", "vcc_admin"]),
    ("invoice.view", "invoice", &["super_admin"]),
];
const PHRASES: [&str; 3] = [
    "violet anchor sleeping harbor tune",
    "golden walnut drifting under moonlight",
    "lantern gravel whisper meadow pine",
];

/// All that the model knows of a person.
#[derive(Clone, Debug, Default)]
struct Person {
    is_active: bool,
    roles: BTreeSet<(String, Option<String>)>,
    phrase: Option<usize>,
}

#[derive(Clone, Debug)]
struct Model {
    people: BTreeMap<&'static str, Person>,
    primary_admin: &'static str,
}

/// What is done.
#[derive(Clone, Copy, Debug)]
enum Step {
    Assign { to: &'static str, role: &'static str, site: Option<&'static str> },
    Revoke { of: &'static str, role: &'static str, site: Option<&'static str> },
    Deactivate { who: &'static str },
    Return { who: &'static str },
    Transfer { to: &'static str },
    SetPassphrase { by: &'static str, phrase: usize },
    ClearPassphrase { of: &'static str },
}

fn drawn(seed: &mut Seed) -> Step {
    let who = PEOPLE[seed.below(PEOPLE.len())];
    let (role, site) = (ROLES[seed.below(ROLES.len())], SITES[seed.below(SITES.len())]);
    match seed.below(12) {
        0..3 => Step::Assign { to: who, role, site },
        3..6 => Step::Revoke { of: who, role, site },
        6 => Step::Deactivate { who },
        7 => Step::Return { who },
        8 => Step::Transfer { to: who },
        9 | 10 => Step::SetPassphrase { by: who, phrase: seed.below(PHRASES.len()) },
        _ => Step::ClearPassphrase { of: who },
    }
}

impl Model {
    fn of_the_sample(sample: &BTreeMap<&'static str, BTreeSet<(String, Option<String>)>>) -> Self {
        let person = |roles: &BTreeSet<_>| Person { is_active: true, roles: roles.clone(), phrase: None };
        let people = sample.iter().map(|(id, roles)| (*id, person(roles))).collect();
        Self { people, primary_admin: sample::ADA }
    }

    fn person(&mut self, id: &str) -> &mut Person {
        self.people.get_mut(id).unwrap()
    }

    fn is_admin(&self, id: &str) -> bool {
        let person = &self.people[id];
        person.is_active && ADMINS.iter().any(|role| person.roles.contains(&((*role).to_owned(), None)))
    }

    /// Whether somebody else can let others in; nobody but these people can, at that account.
    fn has_another_admin(&self, besides: &str) -> bool {
        PEOPLE.iter().any(|id| *id != besides && self.is_admin(id))
    }

    /// Does it, and says whether it may be done.
    fn play(&mut self, step: Step) -> bool {
        let named = |role: &str, site: Option<&str>| (role.to_owned(), site.map(str::to_owned));
        match step {
            Step::Assign { to, .. } if !self.person(to).is_active => return false,
            Step::Assign { to, role, site } => {
                self.person(to).roles.insert(named(role, site));
            }
            Step::Revoke { of, role, site } => {
                let (was_admin, before) = (self.is_admin(of), self.person(of).roles.clone());
                self.person(of).roles.remove(&named(role, site));
                // Somebody stays who lets others in (S13).
                if was_admin && !self.is_admin(of) && !self.has_another_admin(of) {
                    self.person(of).roles = before;
                    return false;
                }
            }
            // Whoever answers for the account stays until there is another (S13).
            Step::Deactivate { who } if who == self.primary_admin => return false,
            Step::Deactivate { who } if self.is_admin(who) && !self.has_another_admin(who) => return false,
            // And whoever leaves takes his passphrase with him (S12).
            Step::Deactivate { who } => {
                *self.person(who) = Person { is_active: false, phrase: None, ..self.person(who).clone() }
            }
            Step::Return { who } => self.person(who).is_active = true,
            Step::Transfer { to } if !self.person(to).is_active => return false,
            Step::Transfer { to } => self.primary_admin = to,
            Step::SetPassphrase { by, phrase } if self.person(by).is_active => self.person(by).phrase = Some(phrase),
            Step::SetPassphrase { .. } => return false,
            Step::ClearPassphrase { of } => return self.person(of).phrase.take().is_some(),
        }
        true
    }

    fn allows(&self, who: &str, reached_by: &[&str], site: Option<&str>) -> bool {
        let person = &self.people[who];
        // A role of the company reaches every site; one of a site reaches that site alone (A16).
        let reaches = |at: &Option<String>| at.is_none() || at.as_deref() == site;
        person.is_active && person.roles.iter().any(|(role, at)| reached_by.contains(&role.as_str()) && reaches(at))
    }
}

/// Does it in the sidecar, and says whether it was done.
async fn done(sidecar: &Sidecar, step: Step) -> bool {
    let (contact, acme) = (ContactId::new, AccountId::new(sample::ACME));
    let by = directory_actor::By::System(SystemActor { name: "workday".to_owned() });
    let desk = managed::Desk::of(sidecar.client("carrier"), by);
    match step {
        Step::Assign { to, role, site } => desk.assign(to, role, site.unwrap_or_default()).await == Answer::Done,
        Step::Revoke { of, role, site } => desk.revoke(of, role, site.unwrap_or_default()).await == Answer::Done,
        Step::Deactivate { who } => desk.deactivate(who).await == Answer::Done,
        Step::Return { who } => sidecar.try_to_change(sidecar.with_status(who, ContactStatus::Active).await).await,
        Step::Transfer { to } => {
            sidecar.try_to_change(Change::SetPrimaryAdmin { account: acme, contact: contact(to) }).await
        }
        Step::SetPassphrase { by, phrase } => {
            let desk = Desk::through(sidecar.channel(), sidecar.client("portal"), by);
            desk.ask_to_set(PassphraseKind::Own, PHRASES[phrase]).await.unwrap().answer() == PassphraseAnswer::Done
        }
        Step::ClearPassphrase { of } => sidecar.try_to_clear_passphrase(of).await,
    }
}

/// Asks a question about each in the portal, and, now and then, of whom a passphrase is known, one by telephone.
async fn decides_alike(sidecar: &Sidecar, model: &Model, seed: &mut Seed, story: &str) {
    for who in PEOPLE {
        decides_alike_of(sidecar, model, seed, story, who).await;
    }
}

async fn decides_alike_of(sidecar: &Sidecar, model: &Model, seed: &mut Seed, story: &str, who: &str) {
    let (action, kind, reached_by) = ACTIONS[seed.below(ACTIONS.len())];
    let site = SITES[seed.below(SITES.len())];
    let question = |channel| -> Question {
        let question = ask(channel, action).upon(kind, "x").by(who);
        site.map_or(question.clone(), |site| question.at_site(site))
    };
    let expected = model.allows(who, reached_by, site);
    let portal = sidecar.client("portal").authorize(question(Portal).logged_in()).await.unwrap();
    let told = (portal.decision(), portal.reason());
    assert_eq!(portal.decision() == Decision::Allow, expected, "{who}, {action} at {site:?}: {told:?}; {story}");
    assert_eq!(portal.verified.is_some(), model.people[who].is_active, "{who}: {told:?}; {story}");
    if let Some(phrase) = model.people[who].phrase.filter(|_| seed.below(4) == 0) {
        let phone = sidecar.client("ivr").insist(question(Phone).saying(PHRASES[phrase])).await.unwrap();
        let told = (phone.decision(), phone.reason());
        assert!(phone.verified.is_some(), "{who} by telephone: {told:?}; {story}");
        assert_eq!(phone.decision() == Decision::Allow, expected, "{who}, {action} at {site:?}: {told:?}; {story}");
    }
}

/// `make soak` plays longer ones.
fn steps() -> usize {
    std::env::var("MODEL_STEPS").map_or(60, |steps| steps.parse().unwrap())
}

async fn plays(sidecar: &Sidecar, name: &str) {
    let mut seed = Seed::drawn();
    let mut known = BTreeMap::new();
    for id in PEOPLE {
        let standing = sidecar.directory().find_standing(&ContactId::new(id)).await.unwrap().unwrap();
        let site = |scope: &Scope| match scope {
            Scope::Company => None,
            Scope::Site(site) => Some(site.as_str().to_owned()),
        };
        let roles = standing.assignments.iter().map(|it| (it.role.to_string(), site(&it.scope))).collect();
        known.insert(id, roles);
    }
    let mut model = Model::of_the_sample(&known);
    let (mut played, mut refused) = (Vec::new(), 0);
    for number in 0..steps() {
        let step = drawn(&mut seed);
        let story = format!("{name}, {}, after step {number}, {step:?}", seed.told());
        let may = model.play(step);
        assert_eq!(done(sidecar, step).await, may, "{story}; before: {played:?}");
        refused += usize::from(!may);
        played.push(step);
        decides_alike(sidecar, &model, &mut seed, &story).await;
    }
    println!(
        "model, {name}: {}, {} steps, {refused} refused: every decision as the model's",
        seed.told(),
        played.len()
    );
}

// proves: S4, S9, S12, S13, A13, A15, A16
#[tokio::test]
async fn whatever_is_managed_in_a_file_it_decides_as_a_few_lines_do() {
    let sidecar = Sidecar::start_with(SETTINGS).await;
    Box::pin(plays(&sidecar, "SQLite")).await;
    sidecar.stop().await;
}

// proves: S4, S9, S12, S13, A13, A15, A16
#[tokio::test]
async fn whatever_is_managed_in_postgres_it_decides_as_a_few_lines_do() {
    let (database, redis) = (Database::new().await, Server::start(&[]));
    let url = postgres::url(&database.address);
    let settings = format!("{SETTINGS}[redis]\nurl = \"{}\"\n[postgres]\nurl = \"{url}\"\n", redis.url());
    let sidecar = Sidecar::start_at(Home::with_keys(), &settings, Arc::new(SystemClock::start())).await;
    Box::pin(plays(&sidecar, "PostgreSQL")).await;
    sidecar.stop().await;
}

/// Under which a busy machine sheds no passphrase, and is given time.
const SETTINGS: &str = "[verify]\nqueue = 1024\n[limits]\ndeadline = \"25s\"\n";
