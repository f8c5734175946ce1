//! What was probably meant by a name that is not known.

/// The names of `known` that are nearest to what was written, at most three that are equally near; none that is far.
#[must_use]
pub fn near<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let written = written.to_lowercase();
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1) && *distance < name.len())
        .collect();
    near.sort_unstable();
    let least = near.first().map_or(0, |(distance, _)| *distance);
    near.into_iter().take_while(|(distance, _)| *distance == least).take(MOST).map(|(_, name)| name).collect()
}

/// The words for an error: `; did you mean a or b?`, or nothing.
#[must_use]
pub fn did_you_mean<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // What somebody sent is not compared when no name is that long: the time of a comparison grows with it.
    if written.len() > LONGEST {
        return String::new();
    }
    let near = near(written, known);
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

const MOST: usize = 3;

/// No key, action, column or role has so many bytes.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["order.place", "order.change", "user.change", "account.view", "directory"];

    #[test]
    fn what_is_near_is_offered_and_nothing_else() {
        assert_eq!(did_you_mean("order.plcae", KNOWN), "; did you mean order.place?");
        assert_eq!(did_you_mean("Directroy", KNOWN), "; did you mean directory?");
        assert_eq!(near("user.chang", KNOWN), ["user.change"]);
        assert_eq!(near("order.chage", KNOWN), ["order.change"]);
        assert_eq!(near("fist_name", ["last_name", "first_name"]), ["first_name"], "farther ones are not");
        for far in ["", "zebra", "no.such.action", &"x".repeat(10_000)] {
            assert_eq!(did_you_mean(far, KNOWN), "", "{far}");
        }
    }
}
