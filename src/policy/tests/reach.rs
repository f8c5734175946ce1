//! Whose power reaches how far, in the shipped bundle.

use std::collections::BTreeSet;

use crate::{directory::RoleName, policy::Bundle};

fn set(roles: &[&str]) -> BTreeSet<RoleName> {
    roles.iter().map(|role| RoleName::new(*role)).collect()
}

// proves: S10, S13
#[test]
fn who_covers_a_role_may_all_that_it_permits() {
    let bundle = Bundle::embedded().unwrap();
    let all = [
        "super_admin",
        "company_admin",
        "it_admin",
        "vcc_admin",
        "my8x8_admin",
        "audit_management_admin",
        "basic_user",
    ];
    let covered = |held: &[&str]| -> Vec<&str> {
        all.into_iter().filter(|role| bundle.covers(&set(held), &RoleName::new(*role))).collect()
    };
    assert_eq!(covered(&["super_admin"]), all);
    assert_eq!(covered(&["company_admin"]), ["company_admin", "it_admin", "basic_user"]);
    assert_eq!(covered(&["it_admin"]), ["it_admin", "basic_user"]);
    assert_eq!(covered(&["my8x8_admin", "vcc_admin"]), ["vcc_admin", "my8x8_admin", "basic_user"]);
    assert_eq!(covered(&[]), ["basic_user"], "which permits nothing that is not permitted to everybody");
    // Asked again it is remembered, and the same.
    assert_eq!(covered(&["company_admin"]), ["company_admin", "it_admin", "basic_user"]);
    assert!(bundle.covers(&set(&[]), &RoleName::new("janitor")), "worth nothing");
    assert_eq!(bundle.roles_that_may("role.grant"), set(&["super_admin", "company_admin"]));
    assert_eq!(bundle.roles_that_may("no.such.action"), set(&[]));
}
