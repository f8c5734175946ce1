//! Which fields are wanted. A field that does not exist is refused, rather than quietly never sent.

use std::collections::BTreeSet;

use crate::grpc::ask::{Invalid, Parsed};

/// Some fields of a message, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask(Option<BTreeSet<String>>);

impl Mask {
    /// The fields that a read mask names, of those that can be named; without one, all.
    pub(super) fn of_read(mask: Option<&prost_types::FieldMask>, known: &[&str]) -> Parsed<Self> {
        match mask {
            None => Ok(Self(None)),
            Some(mask) => paths("read_mask", mask, known).map(Some).map(Self),
        }
    }

    /// The fields that an update names, of those that can be changed.
    pub(super) fn of_update(mask: Option<&prost_types::FieldMask>, known: &[&str]) -> Parsed<Self> {
        let mask = mask.ok_or_else(|| Invalid::required("update_mask"))?;
        paths("update_mask", mask, known).map(Some).map(Self)
    }

    /// All fields.
    pub(super) fn everything() -> Self {
        Self(None)
    }

    /// Whether the field is wanted.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(field))
    }
}

fn paths(field: &str, mask: &prost_types::FieldMask, known: &[&str]) -> Parsed<BTreeSet<String>> {
    if mask.paths.is_empty() {
        return Err(Invalid::new(field, "names no field"));
    }
    if mask.paths.len() > known.len() {
        return Err(Invalid::new(field, format!("names more than the {} fields that there are", known.len())));
    }
    if mask.paths.iter().any(|path| !known.contains(&path.as_str())) {
        return Err(Invalid::new(field, format!("names a field that it cannot; it can: {}", known.join(", "))));
    }
    Ok(mask.paths.iter().cloned().collect())
}
