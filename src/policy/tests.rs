use std::sync::LazyLock;

use super::{source::Files, *};

mod reach;
mod remembered;

static SHIPPED: LazyLock<Bundle> = LazyLock::new(|| Bundle::embedded().unwrap_or_else(|error| panic!("{error}")));

static NOTHING: BTreeMap<String, AttributeValue> = BTreeMap::new();

/// The shipped bundle with rules of an operator's own.
fn with_rules(rules: &str) -> Result<Bundle, BundleError> {
    let mut files = Files::embedded()?;
    files.append("own.cedar", rules);
    Bundle::build(&files)
}

fn action(name: &str) -> &'static Arc<Action> {
    SHIPPED.find_action(name).unwrap_or_else(|| panic!("no action {name}"))
}

fn roles(names: &[&str]) -> BTreeSet<RoleName> {
    names.iter().copied().map(RoleName::new).collect()
}

/// A question with the best evidence of the channel.
fn best<'a>(action: &'a Arc<Action>, channel: Channel, roles: &'a BTreeSet<RoleName>) -> Question<'a> {
    let method = match channel {
        Channel::Phone => Method::Passphrase,
        Channel::Portal | Channel::Chat => Method::PortalLogin,
    };
    Question {
        action,
        channel,
        roles,
        method: Some(method),
        proof: method.best_band(),
        primary_admin: false,
        in_cool_off: false,
        number_moves_locked: false,
        business_exemption: false,
        marketing_approved: false,
        attributes: &action.example,
    }
}

/// The rule that refuses; `None` when it is permitted.
fn refused_by(bundle: &Bundle, question: &Question<'_>) -> Option<String> {
    match bundle.decide(question) {
        Ruling::Permitted(_) => None,
        Ruling::Refused { rule } => Some(rule),
    }
}

// proves: S5
#[test]
fn a_general_question_is_open_to_everybody_on_every_channel() {
    for channel in Channel::ALL {
        let permit = SHIPPED.open_permit(action("general.ask"), channel);
        assert_eq!(permit.map(|permit| permit.rule().to_owned()).as_deref(), Some("general-questions"));
    }
}

// proves: F1, F2
#[test]
fn only_classes_that_may_be_open_are_open_and_every_class_has_an_action() {
    for action in SHIPPED.actions() {
        for channel in Channel::ALL {
            assert_eq!(SHIPPED.open_permit(action, channel).is_some(), action.class.may_be_open(), "{}", action.name);
        }
    }
    for class in DataClass::ALL {
        assert!(SHIPPED.actions().any(|action| action.class == class), "{}", class.code());
    }
}

// proves: F3
#[test]
fn deliveries_to_the_record_name_the_kind_of_target_and_nothing_else() {
    let target = |name: &str| {
        let obligations = &action(name).obligations;
        assert_eq!(obligations.len(), 1);
        (obligations[0].name.clone(), obligations[0].parameters.clone().into_iter().collect::<Vec<_>>())
    };
    let kind = |kind: &str| ("DELIVER_TO_RECORD".to_owned(), vec![("target".to_owned(), kind.to_owned())]);
    assert_eq!(target("call_detail.send_to_address_of_record"), kind("ADDRESS_OF_RECORD"));
    assert_eq!(target("call_detail.call_number_of_record"), kind("NUMBER_OF_RECORD"));
}

// proves: F3
#[test]
fn call_detail_by_phone_offers_both_lawful_remedies() {
    let offered = |channel| {
        let remedies = SHIPPED.remedies(action("call_detail.view"), channel, "en-US");
        remedies.into_iter().map(|remedy| remedy.action).collect::<Vec<_>>()
    };
    let both = ["call_detail.send_to_address_of_record", "call_detail.call_number_of_record"];
    assert_eq!(offered(Channel::Phone), both);
    assert!(offered(Channel::Portal).is_empty());
}

// proves: F3, F7, A23
#[test]
fn what_a_proof_is_worth_follows_from_action_channel_method_and_age() {
    use Channel::{Chat, Phone, Portal};
    use Method::{Passphrase, PortalLogin};
    use ProofBand::{Fresh, Old, ThisCall};
    let table = [
        ("call_detail.view", Phone, Passphrase, ThisCall, None),
        ("call_detail.view", Phone, Passphrase, Fresh, Some("call-detail-this-call")),
        ("call_detail.view", Phone, Passphrase, Old, Some("call-detail-this-call")),
        ("call_detail.view", Phone, PortalLogin, Fresh, Some("call-detail-this-call,passphrase-by-phone")),
        ("call_detail.view", Portal, PortalLogin, Old, None),
        ("account.view", Phone, Passphrase, Old, None),
        ("account.view", Phone, PortalLogin, ThisCall, Some("passphrase-by-phone")),
        ("account.view", Portal, Passphrase, ThisCall, Some("login-online")),
        ("account.view", Chat, Passphrase, ThisCall, Some("login-online")),
        ("order.place", Phone, Passphrase, ThisCall, None),
        ("order.place", Phone, Passphrase, Fresh, Some("orders-this-call")),
        ("order.place", Phone, Passphrase, Old, Some("fresh-proof,orders-this-call")),
        ("order.place", Chat, PortalLogin, Fresh, None),
        ("order.place", Chat, PortalLogin, Old, Some("fresh-proof")),
        ("number.port", Phone, Passphrase, Old, Some("fresh-proof")),
        ("number.port", Phone, Passphrase, Fresh, None),
        ("role.grant", Portal, PortalLogin, Old, Some("fresh-proof")),
        ("routing.change", Portal, PortalLogin, Fresh, None),
    ];
    let held = roles(&["super_admin"]);
    for (name, channel, method, proof, expected) in table {
        let question = Question { method: Some(method), proof, ..best(action(name), channel, &held) };
        let refused = refused_by(&SHIPPED, &question);
        assert_eq!(refused.as_deref(), expected, "{name} {channel:?} {method:?} {proof:?}");
    }
}

// proves: A31
#[test]
fn a_cool_off_stops_orders_grants_and_routing_and_nothing_else() {
    let held = roles(&["super_admin"]);
    for action in SHIPPED.actions() {
        // The account's owner, with every approval on file: nothing but the cool-off is in the way.
        let best = best(action, Channel::Portal, &held);
        let question = Question { in_cool_off: true, primary_admin: true, marketing_approved: true, ..best };
        let sensitive = [
            "account.close",
            "account.create",
            "account.terminate",
            "address_of_record.change",
            "forwarding.change",
            "number.port",
            "number_lock.lift",
            "number_of_record.change",
            "order.cancel",
            "order.change",
            "order.place",
            "primary_admin.name",
            "primary_admin.transfer",
            "role.grant",
            "routing.change",
        ];
        let expected = sensitive.contains(&action.name.as_str()).then_some("cool-off");
        if !action.class.may_be_open() && action.name != "call.discuss" {
            assert_eq!(refused_by(&SHIPPED, &question).as_deref(), expected, "{}", action.name);
        }
    }
}

// proves: F16
#[test]
fn the_owners_lock_on_number_moves_is_honoured() {
    let held = roles(&["super_admin"]);
    for name in ["number.port", "number_of_record.change"] {
        let question = best(action(name), Channel::Portal, &held);
        assert_eq!(refused_by(&SHIPPED, &question), None, "{name}");
        let locked = Question { number_moves_locked: true, primary_admin: true, ..question };
        assert_eq!(refused_by(&SHIPPED, &locked).as_deref(), Some("owner-locked-number-moves"), "{name}");
    }
}

// proves: S4, S10, A15
#[test]
fn each_role_may_do_what_its_description_says_and_no_more() {
    let company = "account.change account.review account.view address_of_record.change call_detail.view device.change \
                   forwarding.change number.port number_lock.set number_of_record.change passphrase.unlock \
                   primary_admin.name recording.view rerouting.report role.grant role.revoke routing.change \
                   user.change workgroup.change";
    let my8x8 = "account.view billing.change case.open case.update invoice.view order.cancel order.change order.place";
    let table = [
        ("company_admin", company),
        ("it_admin", "device.change passphrase.unlock user.change workgroup.change"),
        ("vcc_admin", "contact_center.configure"),
        ("my8x8_admin", my8x8),
        ("audit_management_admin", "audit.read"),
        ("basic_user", ""),
        ("a_role_that_the_bundle_does_not_know", ""),
    ];
    let protected = || SHIPPED.actions().filter(|action| !action.class.may_be_open());
    let may = |held: &BTreeSet<RoleName>| {
        protected()
            .filter(|action| !NEEDS_NO_ROLE.contains(&action.name.as_str()))
            .filter(|action| refused_by(&SHIPPED, &best(action, Channel::Portal, held)).is_none())
            .map(|action| action.name.clone())
            .collect::<Vec<_>>()
    };
    for (role, expected) in table {
        assert_eq!(may(&roles(&[role])).join(" "), expected, "{role}");
    }
    let withheld =
        ["account.close", "call.discuss", "cpni.use_for_marketing", "number_lock.lift", "primary_admin.transfer"];
    let names = protected().map(|action| action.name.clone());
    let everything = names.filter(|name| !NEEDS_NO_ROLE.contains(&name.as_str()) && !withheld.contains(&name.as_str()));
    assert_eq!(may(&roles(&["super_admin"])), everything.collect::<Vec<_>>());
}

/// What a verified caller may do without any role.
const NEEDS_NO_ROLE: [&str; 2] = ["identity.verify", "passphrase.change"];

// proves: S9
#[test]
fn a_passphrase_is_changed_in_the_portal_with_a_fresh_login_and_without_any_role() {
    let nobody = roles(&[]);
    let change = action("passphrase.change");
    let question = best(change, Channel::Portal, &nobody);
    assert_eq!(refused_by(&SHIPPED, &Question { in_cool_off: true, ..question.clone() }), None);
    let old = Question { proof: ProofBand::Old, ..question };
    assert_eq!(refused_by(&SHIPPED, &old).as_deref(), Some("fresh-proof"));
    for channel in [Channel::Phone, Channel::Chat] {
        assert!(SHIPPED.accepted_methods(change, channel).is_empty());
    }
}

// proves: F16
#[test]
fn the_lock_on_number_moves_is_lifted_by_the_primary_administrator_alone() {
    let held = roles(&["super_admin"]);
    let question = best(action("number_lock.lift"), Channel::Portal, &held);
    assert_eq!(refused_by(&SHIPPED, &question).as_deref(), Some("owner-lifts-the-lock"));
    assert_eq!(refused_by(&SHIPPED, &Question { primary_admin: true, ..question }), None);
    let set = best(action("number_lock.set"), Channel::Phone, &held);
    assert_eq!(refused_by(&SHIPPED, &Question { in_cool_off: true, ..set }), None, "to lock harms nobody");
}

// proves: F4
#[test]
fn a_described_call_is_discussed_with_nobody_until_a_bundle_turns_it_on() {
    let discuss = action("call.discuss");
    assert_eq!(discuss.obligations.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["NO_ADDITIONAL_DETAIL"]);
    assert!(Channel::ALL.iter().all(|channel| SHIPPED.accepted_methods(discuss, *channel).is_empty()));
    let on = with_described_calls();
    let discuss = on.find_action("call.discuss").unwrap();
    let nobody = roles(&[]);
    let question = best(discuss, Channel::Phone, &nobody);
    assert_eq!(refused_by(&on, &question), None, "it relaxes the role");
    let earlier = Question { proof: ProofBand::Old, ..question.clone() };
    assert_eq!(refused_by(&on, &earlier).as_deref(), Some("call-detail-this-call"), "and nothing else");
    let unproved = Question { method: None, proof: ProofBand::None, ..question };
    assert!(refused_by(&on, &unproved).is_some_and(|rule| rule.contains("proof-first")));
}

/// The shipped bundle with F4 turned on, as docs/policy.md shows.
fn with_described_calls() -> Bundle {
    let mut files = Files::embedded().unwrap();
    files.replace("guards.cedar", "@id(\"described-calls-off\")\nforbid", "@id(\"described-calls\")\npermit");
    Bundle::build(&files).unwrap()
}

// proves: F13
#[test]
fn the_business_exemption_changes_nothing_until_a_bundle_says_what() {
    for action in SHIPPED.actions() {
        for channel in Channel::ALL {
            for role in SHIPPED.roles() {
                let held = BTreeSet::from([role.clone()]);
                let question = best(action, channel, &held);
                let exempt = Question { business_exemption: true, ..question.clone() };
                assert_eq!(refused_by(&SHIPPED, &question), refused_by(&SHIPPED, &exempt), "{}", action.name);
            }
        }
    }
    let rule = r#"@id("exempt-accounts")
        permit (principal in Role::"it_admin", action == Action::"call_detail.view", resource)
        when { context.business_exemption };"#;
    let own = with_rules(rule).unwrap();
    let held = roles(&["it_admin"]);
    let view = own.find_action("call_detail.view").unwrap();
    let question = best(view, Channel::Phone, &held);
    assert_eq!(refused_by(&own, &question).as_deref(), Some("default"));
    assert_eq!(refused_by(&own, &Question { business_exemption: true, ..question }), None);
}

// proves: F14
#[test]
fn marketing_use_is_refused_without_an_approval_on_file() {
    for role in SHIPPED.roles() {
        let held = BTreeSet::from([role.clone()]);
        for channel in Channel::ALL {
            let question = best(action("cpni.use_for_marketing"), channel, &held);
            assert_eq!(refused_by(&SHIPPED, &question).as_deref(), Some("marketing-needs-approval"));
            assert_eq!(refused_by(&SHIPPED, &Question { marketing_approved: true, ..question }), None);
        }
    }
}

#[test]
fn identity_verify_needs_proof_and_no_role_and_never_escalates() {
    let nobody = roles(&[]);
    let verify = action("identity.verify");
    for channel in Channel::ALL {
        let question = best(verify, channel, &nobody);
        assert_eq!(refused_by(&SHIPPED, &question), None);
        assert!(SHIPPED.open_permit(verify, channel).is_none());
        let unproved = Question { method: None, proof: ProofBand::None, ..question };
        assert!(refused_by(&SHIPPED, &unproved).is_some());
    }
    assert!(verify.escalates_on.is_empty());
}

#[test]
fn phone_never_escalates_and_portal_and_chat_do() {
    // What needs no role, what no role opens, and what ends by itself is nothing to ask the primary administrator for.
    let never = [
        "identity.verify",
        "passphrase.change",
        "passphrase.unlock",
        "account.review",
        "account.close",
        "account.create",
        "account.terminate",
        "primary_admin.name",
        "primary_admin.transfer",
        "call.discuss",
        "cpni.use_for_marketing",
    ];
    for action in SHIPPED.actions().filter(|action| !action.class.may_be_open()) {
        let expected =
            if never.contains(&action.name.as_str()) { vec![] } else { vec![Channel::Portal, Channel::Chat] };
        assert_eq!(action.escalates_on, BTreeSet::from_iter(expected), "{}", action.name);
    }
}

#[test]
fn what_is_accepted_follows_from_action_and_channel_alone() {
    let accepted = |name: &str| Channel::ALL.map(|channel| SHIPPED.accepted_methods(action(name), channel));
    let login: &[Method] = &[Method::PortalLogin];
    assert_eq!(accepted("account.view"), [&[Method::Passphrase, Method::Keypad][..], login, login]);
    assert_eq!(accepted("order.place"), [&[Method::Passphrase][..], login, login]);
    assert_eq!(accepted("role.grant"), [&[][..], login, login]);
    assert_eq!(accepted("address_of_record.change"), [&[][..], login, login]);
}

// proves: F9, A15, A23
#[test]
fn digits_on_the_keypad_open_no_call_detail_no_change_and_no_order_to_anybody() {
    let by_keypad = |action: &Arc<Action>, channel: Channel, role: &RoleName| {
        let roles = BTreeSet::from([role.clone()]);
        let question = Question {
            method: Some(Method::Keypad),
            proof: ProofBand::ThisCall,
            primary_admin: true,
            business_exemption: true,
            marketing_approved: true,
            ..best(action, channel, &roles)
        };
        matches!(SHIPPED.decide(&question), Ruling::Permitted(_))
    };
    for action in SHIPPED.actions().filter(|action| !action.class.may_be_open()) {
        for role in SHIPPED.roles() {
            for channel in [Channel::Portal, Channel::Chat] {
                assert!(!by_keypad(action, channel, role), "{} on {}", action.name, channel.code());
            }
            let is_opened = by_keypad(action, Channel::Phone, role);
            assert!(!is_opened || action.class == DataClass::AccountInformation, "{} to {role}", action.name);
        }
    }
    assert!(by_keypad(action("account.view"), Channel::Phone, &RoleName::new("company_admin")));
}

#[test]
fn only_a_super_admin_grants_the_high_roles() {
    let grant = action("role.grant");
    for (granter, granted, expected) in [
        ("company_admin", "it_admin", None),
        ("company_admin", "audit_management_admin", Some("high-roles-by-super-admin")),
        ("company_admin", "super_admin", Some("high-roles-by-super-admin")),
        ("super_admin", "audit_management_admin", None),
    ] {
        let held = roles(&[granter]);
        let attributes = BTreeMap::from([("role".to_owned(), AttributeValue::Text(granted.to_owned()))]);
        let question = Question { attributes: &attributes, ..best(grant, Channel::Portal, &held) };
        assert_eq!(refused_by(&SHIPPED, &question).as_deref(), expected, "{granter} grants {granted}");
    }
}

#[test]
fn a_rule_may_weigh_attributes() {
    let rule = r#"@id("large-orders")
        forbid (principal, action == Action::"order.place", resource)
        when { context.attributes.amount_minor > 500000 } unless { principal in Role::"super_admin" };"#;
    let bundle = with_rules(rule).unwrap();
    let order = bundle.find_action("order.place").unwrap();
    let held = roles(&["my8x8_admin"]);
    for (amount, expected) in [(500_000, None), (500_001, Some("large-orders"))] {
        let mut attributes = order.example.clone();
        attributes.insert("amount_minor".to_owned(), AttributeValue::Number(amount));
        let question = Question { attributes: &attributes, ..best(order, Channel::Phone, &held) };
        assert_eq!(refused_by(&bundle, &question).as_deref(), expected, "{amount}");
    }
}

#[test]
fn a_rule_that_fails_refuses_even_what_another_permits() {
    let rule = r#"@id("fragile")
        forbid (principal, action == Action::"order.place", resource)
        when { context.attributes.amount_minor * 1000000 == 1 };"#;
    let bundle = with_rules(rule).unwrap();
    let order = bundle.find_action("order.place").unwrap();
    let held = roles(&["super_admin"]);
    let mut attributes = order.example.clone();
    attributes.insert("amount_minor".to_owned(), AttributeValue::Number(i64::MAX));
    let question = best(order, Channel::Phone, &held);
    assert_eq!(refused_by(&bundle, &question), None);
    let overflowing = Question { attributes: &attributes, ..question };
    assert_eq!(refused_by(&bundle, &overflowing).as_deref(), Some("error"));
}

#[test]
fn a_question_that_contradicts_itself_is_refused() {
    let held = roles(&["super_admin"]);
    let question = best(action("account.view"), Channel::Phone, &held);
    let method_without_proof = Question { proof: ProofBand::None, ..question.clone() };
    let proof_without_method = Question { method: None, ..question.clone() };
    let undeclared = Question { attributes: &NOTHING, ..best(action("order.place"), Channel::Phone, &held) };
    for question in [method_without_proof, proof_without_method, undeclared] {
        assert_eq!(refused_by(&SHIPPED, &question).as_deref(), Some("error"));
    }
}

#[test]
fn a_class_is_protected_even_for_one_amount_that_no_trial_would_find() {
    let mut files = Files::embedded().unwrap();
    let text = r#"@id("back-door") permit (principal, action == Action::"order.place", resource)
        when { context.attributes.amount_minor == 4711 };"#;
    files.append("own.cedar", text);
    let bundle = Bundle::build(&files).unwrap();
    let order = bundle.find_action("order.place").unwrap();
    let mut attributes = order.example.clone();
    attributes.insert("amount_minor".to_owned(), AttributeValue::Number(4711));
    let nobody = roles(&[]);
    let question = Question {
        method: None,
        proof: ProofBand::None,
        attributes: &attributes,
        ..best(order, Channel::Phone, &nobody)
    };
    assert!(refused_by(&bundle, &question).is_some_and(|rule| rule.contains("proof-first")));
    let verified = Question { attributes: &attributes, ..best(order, Channel::Phone, &nobody) };
    assert_eq!(refused_by(&bundle, &verified), None, "the rule is alive");
}

#[test]
fn guidance_comes_in_the_locale_in_its_language_or_in_the_default() {
    let say = |locale| SHIPPED.guidance(action("role.grant"), GuidanceFor::NotOnThisChannel, locale).say;
    assert_ne!(say("en-US"), say("es-US"));
    assert_eq!(say("ES-us"), say("es-US"));
    assert_eq!(say("es"), say("es-US"));
    assert_eq!(say("en-GB"), say("en-US"));
    for other in ["", "de-DE", "xx", "-"] {
        assert_eq!(say(other), say("en-US"), "{other}");
    }
    let code = |locale| SHIPPED.guidance(action("role.grant"), GuidanceFor::NotOnThisChannel, locale).code;
    assert_eq!(code("en-US"), code("es-US"));
}

#[test]
fn a_resource_is_checked_field_by_field() {
    let order = action("order.place");
    let field = |name: &str, kind: Option<&str>, attributes: &BTreeMap<String, AttributeValue>| {
        SHIPPED.check_resource(action(name), kind, attributes).err().map(|error| error.field)
    };
    let changed = |name: &str, value: AttributeValue| {
        let mut attributes = order.example.clone();
        attributes.insert(name.to_owned(), value);
        attributes
    };
    let mut short = order.example.clone();
    short.remove("currency");
    assert_eq!(field("order.place", Some("order"), &order.example), None);
    assert_eq!(field("account.view", None, &NOTHING), None);
    assert_eq!(field("account.view", Some("account"), &NOTHING), None);
    for (name, kind, attributes, expected) in [
        ("order.place", None, order.example.clone(), "resource.type"),
        ("order.place", Some("invoice"), order.example.clone(), "resource.type"),
        ("general.ask", Some("order"), BTreeMap::new(), "resource.type"),
        ("order.place", Some("order"), short, "resource.attributes.currency"),
        (
            "order.place",
            Some("order"),
            changed("amount_minor", AttributeValue::Text("5".into())),
            "resource.attributes.amount_minor",
        ),
        (
            "order.place",
            Some("order"),
            changed("currency", AttributeValue::Text("x".repeat(257))),
            "resource.attributes.currency",
        ),
        ("order.place", Some("order"), changed("secret words", AttributeValue::Flag(true)), "resource.attributes"),
        ("account.view", Some("account"), order.example.clone(), "resource.attributes"),
        ("general.ask", None, order.example.clone(), "resource.attributes"),
    ] {
        assert_eq!(field(name, kind, &attributes).as_deref(), Some(expected), "{name} {kind:?}");
    }
    let told = SHIPPED.check_resource(order, Some("order"), &changed("secret words", AttributeValue::Flag(true)));
    assert!(!told.unwrap_err().to_string().contains("secret"));
}
