//! Properties of the formats, over anything that a file may hold.

use proptest::prelude::*;

use super::{super::lines::Lines, *};

proptest! {
    #[test]
    fn what_is_written_as_a_line_is_read_as_it_was(values in prop::collection::vec("[^\\x00-\\x1f\\x7f]{0,12}", 1..6)) {
        let line = join(&values);
        prop_assert_eq!(split(&line).unwrap(), values);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[\\x20-\\x7eäß\u{1f600},\"{}:]{0,60}") {
        let _read = (split(&text).is_ok(), json(&text).is_ok(), Header::parse(Kind::Contact, &text).is_ok());
    }

    #[test]
    fn every_byte_of_a_file_belongs_to_a_line(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut lines = Lines::of(&bytes[..]);
        let mut last = 0;
        while let Some((number, _)) = lines.next().unwrap() {
            prop_assert!(number > last);
            last = number;
        }
        prop_assert!(usize::try_from(last).unwrap() <= bytes.split(|byte| *byte == b'\n').count());
    }
}

#[test]
fn a_column_that_is_not_there_leaves_what_is_on_record_and_a_blank_one_clears_it() {
    let row_of = |header: &str, line: &str| {
        let header = Header::parse(Kind::Contact, header).unwrap();
        match row(Stage::Contacts, &header.fields(line).unwrap(), Timestamp::UNIX_EPOCH).unwrap() {
            Some(Row::Contact(row)) => row.email,
            other => panic!("no contact: {other:?}"),
        }
    };
    assert_eq!(row_of("id,account,first_name,last_name", "c,a,x,y"), Told::Nothing);
    assert_eq!(row_of("id,account,first_name,last_name,email", "c,a,x,y,"), Told::Empty);
    assert_eq!(row_of("id,account,first_name,last_name,email", "c,a,x,y,x@y"), Told::Is("x@y".to_owned()));
}
