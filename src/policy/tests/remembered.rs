use proptest::{collection::vec, prelude::*, sample::select};

use super::{super::cedar::Answer, *};

/// Everything about a question that is not the bundle's.
#[derive(Clone, Debug)]
struct Asked {
    action: prop::sample::Index,
    channel: Channel,
    roles: u16,
    method: Option<Method>,
    proof: ProofBand,
    flags: [bool; 5],
}

fn any_question() -> impl Strategy<Value = Asked> {
    let method = select(vec![None, Some(Method::Passphrase), Some(Method::PortalLogin), Some(Method::Keypad)]);
    let proof = select(vec![ProofBand::Old, ProofBand::Fresh, ProofBand::ThisCall]);
    (any::<prop::sample::Index>(), select(Channel::ALL.to_vec()), 0..256_u16, method, proof, any::<[bool; 5]>())
        .prop_map(|(action, channel, roles, method, proof, flags)| {
            let proof = if method.is_none() { ProofBand::None } else { proof };
            Asked { action, channel, roles, method, proof, flags }
        })
}

/// The body of a rule as an operator might write it, about anything that a rule may speak about.
fn any_rule() -> impl Strategy<Value = String> {
    let effect = select(vec!["permit", "forbid"]);
    let principal = select(vec![
        "principal",
        r#"principal in Role::"it_admin""#,
        r#"principal in Role::"basic_user""#,
        r#"principal in Role::"company_admin""#,
    ]);
    let action = select(vec![
        r#"action in Action::"PROTECTED""#,
        r#"action in Action::"CHANGE""#,
        r#"action in Action::"CALL_DETAIL""#,
        r#"action in Action::"SENSITIVE""#,
        r#"action == Action::"account.view""#,
        r#"action in [Action::"case.open", Action::"identity.verify"]"#,
    ]);
    let head = select(vec!["when", "unless"]);
    let condition = select(vec![
        r#"context.channel == Channel::"CHAT""#,
        r#"context.method == Method::"PASSPHRASE""#,
        r#"context.proof == Proof::"OLD""#,
        r#"context.proof != Proof::"THIS_CALL" && context.channel != Channel::"PORTAL""#,
        "context.primary_admin",
        "context.in_cool_off || context.number_moves_locked",
        "context.business_exemption",
        "!context.marketing_approved",
    ]);
    (effect, principal, action, head, condition).prop_map(|(effect, principal, action, head, condition)| {
        format!("{effect} ({principal}, {action}, resource) {head} {{ {condition} }};")
    })
}

fn check(bundle: &Bundle, asked: &Asked) -> Result<(), TestCaseError> {
    let all: Vec<&Arc<Action>> = bundle.actions().collect();
    let action = all[asked.action.index(all.len())];
    let known = bundle.roles().iter().enumerate();
    let mut held: BTreeSet<RoleName> =
        known.filter(|(bit, _)| asked.roles & (1 << bit) != 0).map(|(_, role)| role.clone()).collect();
    if asked.roles & 128 != 0 {
        held.insert(RoleName::new("unknown_role"));
    }
    let [primary_admin, in_cool_off, number_moves_locked, business_exemption, marketing_approved] = asked.flags;
    let question = Question {
        action,
        channel: asked.channel,
        roles: &held,
        method: asked.method,
        proof: asked.proof,
        primary_admin,
        in_cool_off,
        number_moves_locked,
        business_exemption,
        marketing_approved,
        attributes: &action.example,
    };
    let evaluated = bundle.evaluate(&question).unwrap();
    for _ in 0..2 {
        let remembered = match bundle.decide(&question) {
            Ruling::Permitted(permit) => Answer::Permitted(permit.rule().to_owned()),
            Ruling::Refused { rule } => Answer::Refused(rule),
        };
        prop_assert_eq!(&remembered, &evaluated);
    }
    let permitted = matches!(evaluated, Answer::Permitted(_));
    prop_assert!(!permitted || asked.method.is_some() || action.class.may_be_open());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    // proves: F2, A5
    #[test]
    fn a_remembered_answer_is_the_evaluated_one_whatever_the_rules(
        rules in vec(any_rule(), 0..6),
        asked in vec(any_question(), 1..80),
    ) {
        let own: String = rules.iter().enumerate().map(|(at, rule)| format!("@id(\"own-{at}\")\n{rule}\n")).collect();
        let bundle = with_rules(&own).map_err(|error| TestCaseError::fail(format!("{error}\n{own}")))?;
        for asked in &asked {
            check(&bundle, asked)?;
        }
    }
}
