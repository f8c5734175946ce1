use super::diff;

const OLD: &str = "For people.\n
case.open (CHANGE), proved on PORTAL: PORTAL_LOGIN
                             PORTAL
  proof                      NONE      OLD
  it_admin                   prove     deny
  basic_user                 prove     deny
  in a cool-off
    basic_user               prove     again

user.change (CHANGE)
                             PORTAL
  proof                      any
  it_admin                   nobody
";

#[test]
fn equal_matrices_have_no_difference_whatever_stands_above() {
    assert_eq!(diff(OLD, &OLD.replace("For people.", "For other people.")), "");
}

#[test]
fn a_line_that_changed_stands_under_the_head_of_its_table() {
    let new = OLD.replace("it_admin                   prove     deny", "it_admin                   prove     allow");
    let expected = " case.open (CHANGE), proved on PORTAL: PORTAL_LOGIN
                              PORTAL
   proof                      NONE      OLD
-  it_admin                   prove     deny
+  it_admin                   prove     allow
";
    assert_eq!(diff(OLD, &new), expected);
}

#[test]
fn a_condition_that_changes_nothing_any_more_shows_the_lines_that_are_gone() {
    let new = OLD.replace("  in a cool-off\n    basic_user               prove     again\n", "");
    assert!(diff(OLD, &new).ends_with("   in a cool-off\n-    basic_user               prove     again\n"));
    assert!(diff(&new, OLD).ends_with("   in a cool-off\n+    basic_user               prove     again\n"));
}

#[test]
fn an_action_that_is_new_or_gone_stands_whole() {
    let without = OLD.split("\nuser.change").next().unwrap();
    assert_eq!(diff(OLD, without).lines().next(), Some("-user.change (CHANGE)"));
    assert_eq!(diff(without, OLD).lines().last(), Some("+  it_admin                   nobody"));
}

#[test]
fn another_way_of_proving_shows_in_the_title() {
    let new = OLD.replace("PORTAL: PORTAL_LOGIN", "PORTAL: PASSPHRASE");
    let difference = diff(OLD, &new);
    let shown: Vec<&str> = difference.lines().take(2).collect();
    assert!(shown[0].starts_with("-case.open") && shown[1].starts_with("+case.open"), "{difference}");
}
