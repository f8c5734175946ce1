use data_encoding::HEXLOWER;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::*;

#[test]
fn spellings_of_one_phrase_have_one_form() {
    // proves: N2, A33
    let phrase = "copper lantern dont drift strasse 42";
    for spelling in [
        "copper lantern dont drift strasse 42",
        "  Copper\u{a0}LANTERN \t don’t  drift Straße 42. ",
        "copper-lantern_don't/drift—strasse 42!",
        "ｃｏｐｐｅｒ　ｌａｎｔｅｒｎ　ｄｏｎｔ　ｄｒｉｆｔ　ｓｔｒａｓｓｅ　④②",
        "cop\u{200b}per lan\u{ad}tern do\u{200d}nt drift strasse\u{feff} 42 🔑",
        "“copper” (lantern): dont, drift; strasse… 42?",
    ] {
        assert_eq!(*form(spelling), phrase, "{spelling:?}");
    }
}

#[test]
fn different_words_stay_different() {
    for (one, other) in [
        ("copper lantern", "copperlantern"),
        ("cafe", "café"),
        ("ten", "10"),
        ("٤٢", "42"),
        ("forty two", "42"),
        ("a b", "b a"),
    ] {
        assert_ne!(*form(one), *form(other), "{one:?} and {other:?}");
    }
}

#[test]
fn what_says_nothing_has_the_empty_form() {
    for text in ["", " \t\n", "…!?", "\u{200b}\u{feff}", "🔑🔑", "-_-"] {
        assert_eq!(*form(text), "", "{text:?}");
    }
}

#[test]
fn a_symbol_with_a_mark_vanishes_whole() {
    assert_eq!(*form("a ≠ b"), "a b");
    assert_eq!(*form("a =\u{338} b"), "a b");
}

/// Every code point that Unicode assigns.
fn assigned() -> impl Iterator<Item = char> {
    let category = CodePointMapData::<GeneralCategory>::new();
    ('\0'..=char::MAX).filter(move |character| {
        !matches!(category.get(*character), GeneralCategory::Unassigned | GeneralCategory::PrivateUse)
    })
}

/// Whether neither normalisation nor case folding changes it.
fn is_plain(text: &str) -> bool {
    ComposingNormalizer::new_nfkc().is_normalized(text) && CaseMapper::new().fold_string(text) == text
}

#[test]
fn the_form_of_every_code_point_is_pinned() {
    // A difference is a new VERSION: hashes made with the old form would no longer match.
    let mut all = Sha256::new();
    for character in assigned() {
        let text = character.to_string();
        match weight(character) {
            Weight::Dropped => all.update(b"-"),
            Weight::Separates => all.update(b" "),
            Weight::Kept if is_plain(&text) => all.update(text.as_bytes()),
            Weight::Kept => all.update(form_1(&format!("a{text}\u{301}{text}")).as_bytes()),
        }
    }
    assert_eq!(HEXLOWER.encode(&all.finalize()), "1129959916deeaaa21c851427ff57cb7a3b23cb82422d73f87a39adea1c21510");
}

#[test]
fn no_code_point_grows_beyond_the_bound() {
    // proves: A30
    let mut worst = 0;
    for character in assigned() {
        let text = character.to_string();
        if !is_plain(&text) {
            let form = form(&text);
            assert!(form.len() <= GROWTH * text.len(), "U+{:04X}", u32::from(character));
            worst = worst.max(form.len().div_ceil(text.len()));
        }
    }
    assert_eq!(worst, GROWTH);
}

proptest! {
    #[test]
    fn the_form_of_a_form_is_itself(text in any::<String>()) {
        let once = form(&text);
        prop_assert_eq!(&*form(&once), &*once);
    }

    #[test]
    fn the_form_of_any_marks_and_letters_is_stable(text in "[\\p{L}\\p{M}\\p{N} -]{0,24}") {
        let once = form(&text);
        prop_assert_eq!(&*form(&once), &*once);
    }

    #[test]
    fn the_form_grows_within_its_bound(text in any::<String>()) {
        prop_assert!(form(&text).len() <= GROWTH * text.len());
    }

    #[test]
    fn composed_and_decomposed_spellings_are_equal(text in any::<String>()) {
        let composed = ComposingNormalizer::new_nfc().normalize(&text).into_owned();
        let decomposed = DecomposingNormalizer::new_nfd().normalize(&text).into_owned();
        prop_assert_eq!(&*form(&composed), &*form(&text));
        prop_assert_eq!(&*form(&decomposed), &*form(&text));
    }

    #[test]
    fn marks_on_letters_are_equal_composed_and_decomposed(text in "[\\p{Latin}\\p{Greek}\\p{Hangul}\\p{M}=<>]{0,16}") {
        let composed = ComposingNormalizer::new_nfc().normalize(&text).into_owned();
        let decomposed = DecomposingNormalizer::new_nfd().normalize(&text).into_owned();
        prop_assert_eq!(&*form(&composed), &*form(&decomposed));
    }

    #[test]
    fn a_form_has_no_outer_and_no_double_space(text in any::<String>()) {
        let form = form(&text);
        prop_assert!(!form.starts_with(' ') && !form.ends_with(' ') && !form.contains("  "));
        prop_assert!(form.chars().all(|c| c == ' ' || !c.is_whitespace()));
    }
}
