//! The file as a tree in which every value remembers where it stands, and every key must be asked for.

use std::{collections::BTreeMap, fmt::Display, ops::RangeInclusive, path::Path, str::FromStr};

use jiff::SignedDuration;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place};
use crate::spelling::{did_you_mean, near};

/// A table of the file. Whoever reads it takes the keys that exist; [`Table::finish`] refuses what is left.
#[derive(Debug)]
pub(super) struct Table {
    name: String,
    place: Place,
    entries: BTreeMap<String, Entry>,
    known: Vec<String>,
    /// The section that was probably meant, when this one is not there.
    meant: Option<(String, Place)>,
}

#[derive(Debug)]
struct Entry {
    value: Value,
    place: Place,
}

#[derive(Debug)]
enum Value {
    Text(String),
    Integer(i64),
    Flag(bool),
    List(Vec<Value>),
    Table(Table),
    Other(&'static str),
}

/// A value that was taken: with its name and place, to say what is wrong with it.
#[derive(Debug)]
pub(super) struct Field<T> {
    pub(super) value: T,
    pub(super) name: String,
    pub(super) place: Place,
}

/// Reads the text of a file.
pub(super) fn read(text: &str, path: &Path) -> Result<Table, ConfigError> {
    let line = |offset: usize| Place::Line {
        path: path.to_owned(),
        line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
    };
    let root = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: line(error.span().map_or(0, |span| span.start)),
        why: error.message().to_owned(),
    })?;
    Ok(table("", root.get_ref(), Place::File(path.to_owned()), &line))
}

fn table(name: &str, table: &DeTable<'_>, place: Place, line: &dyn Fn(usize) -> Place) -> Table {
    let entries = table.iter().map(|(key, value)| {
        let place = line(key.span().start);
        let name = joined(name, key.get_ref());
        (key.get_ref().to_string(), Entry { value: Value::of(&name, value.get_ref(), &place, line), place })
    });
    Table { name: name.to_owned(), place, entries: entries.collect(), known: Vec::new(), meant: None }
}

impl Value {
    fn of(name: &str, value: &DeValue<'_>, place: &Place, line: &dyn Fn(usize) -> Place) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("a number beyond 64 bits"), Self::Integer),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Array(values) => Self::List(
                values.iter().map(|value| Self::of(name, value.get_ref(), &line(value.span().start), line)).collect(),
            ),
            DeValue::Table(inner) => Self::Table(table(name, inner, place.clone(), line)),
            DeValue::Float(_) => Self::Other("a fraction"),
            DeValue::Datetime(_) => Self::Other("a date"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

impl Table {
    /// Renames it, once what it is about is known.
    pub(super) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// Sets a key from an environment variable, over what the file says.
    pub(super) fn set(&mut self, section: &str, key: &str, text: &str, variable: &str) {
        let place = Place::Variable(variable.to_owned());
        let entry = self.entries.entry(section.to_owned()).or_insert_with(|| Entry {
            value: Value::Table(Table {
                name: section.to_owned(),
                place: place.clone(),
                entries: BTreeMap::new(),
                known: Vec::new(),
                meant: None,
            }),
            place: place.clone(),
        });
        if let Value::Table(section) = &mut entry.value {
            section.entries.insert(key.to_owned(), Entry { value: Value::Text(text.to_owned()), place });
        }
    }

    /// Reads a section with `read`; one that is left out is empty. Keys that `read` does not take are refused.
    pub(super) fn section<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Table) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let place = self.place.clone();
        let mut section = match self.take(name) {
            None => {
                let meant = self.misspelt(name);
                Table { name: joined(&self.name, name), place, entries: BTreeMap::new(), known: Vec::new(), meant }
            }
            Some(Field { value: Value::Table(section), .. }) => section,
            Some(field) => return Err(field.is_not("a section")),
        };
        let read = read(&mut section)?;
        section.finish()?;
        Ok(read)
    }

    /// As [`Table::section`], when there is one.
    pub(super) fn maybe_section<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Table) -> Result<T, ConfigError>,
    ) -> Result<Option<T>, ConfigError> {
        if self.entries.contains_key(name) {
            return self.section(name, read).map(Some);
        }
        self.known.push(name.to_owned());
        Ok(None)
    }

    /// Takes the sections of a `[[name]]` list.
    pub(super) fn sections(&mut self, name: &str) -> Result<Vec<Table>, ConfigError> {
        let Some(field) = self.take(name) else { return Ok(Vec::new()) };
        let Field { value: Value::List(values), name, place } = field else {
            return Err(field.is_not("a list of sections; write it in double brackets"));
        };
        let tables = values.into_iter().map(|value| match value {
            Value::Table(table) => Ok(table),
            Value::Text(_) | Value::Integer(_) | Value::Flag(_) | Value::List(_) | Value::Other(_) => {
                Err(Field { value, name: name.clone(), place: place.clone() }.is_not("a section"))
            }
        });
        tables.collect()
    }

    /// Takes a text.
    pub(super) fn text(&mut self, key: &str) -> Result<Option<Field<String>>, ConfigError> {
        let Some(field) = self.take(key) else { return Ok(None) };
        match field {
            Field { value: Value::Text(value), name, place } => Ok(Some(Field { value, name, place })),
            other => Err(other.is_not("text")),
        }
    }

    /// Takes a text that is required; `why` says what it is for.
    pub(super) fn required_text(&mut self, key: &str, why: &str) -> Result<Field<String>, ConfigError> {
        self.text(key)?.ok_or_else(|| self.missing(key, why))
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Field<Vec<String>>>, ConfigError> {
        const WANTED: &str = "a list of texts";
        let Some(field) = self.take(key) else { return Ok(None) };
        let Field { value: Value::List(values), name, place } = field else {
            return Err(field.is_not(WANTED));
        };
        let mut texts = Vec::new();
        for value in values {
            match value {
                Value::Text(text) => texts.push(text),
                Value::Integer(_) | Value::Flag(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                    return Err(Field { value, name, place }.is_not(WANTED));
                }
            }
        }
        Ok(Some(Field { value: texts, name, place }))
    }

    /// Takes true or false.
    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool, ConfigError> {
        let Some(field) = self.take(key) else { return Ok(default) };
        match (&field.value, &field.place) {
            (Value::Flag(flag), _) => Ok(*flag),
            (Value::Text(text), Place::Variable(_)) => text.parse().map_err(|_| field.is_not("true or false")),
            _ => Err(field.is_not("true or false")),
        }
    }

    /// Takes a whole number within `range`.
    pub(super) fn number<N>(&mut self, key: &str, default: N, range: RangeInclusive<N>) -> Result<N, ConfigError>
    where
        N: Copy + PartialOrd + Display + FromStr + TryFrom<i64>,
    {
        Ok(self.maybe_number(key, range)?.map_or(default, |field| field.value))
    }

    /// Takes a whole number within `range` that has no default.
    pub(super) fn maybe_number<N>(
        &mut self,
        key: &str,
        range: RangeInclusive<N>,
    ) -> Result<Option<Field<N>>, ConfigError>
    where
        N: Copy + PartialOrd + Display + FromStr + TryFrom<i64>,
    {
        let Some(field) = self.take(key) else { return Ok(None) };
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        let number = match (&field.value, &field.place) {
            (Value::Integer(number), _) => N::try_from(*number).ok(),
            (Value::Text(text), Place::Variable(_)) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(value) => Ok(Some(Field { value, name: field.name, place: field.place })),
            None => Err(field.is_not(&wanted)),
        }
    }

    /// Takes a duration within `range`, written as people do: `250ms`, `10m`, `1h 30m`.
    pub(super) fn duration(
        &mut self,
        key: &str,
        default: SignedDuration,
        range: RangeInclusive<SignedDuration>,
    ) -> Result<SignedDuration, ConfigError> {
        let Some(field) = self.take(key) else { return Ok(default) };
        let wanted = format!("a duration from {:#} to {:#}, such as \"{default:#}\"", range.start(), range.end());
        let duration = match &field.value {
            Value::Text(text) => text.parse::<SignedDuration>().ok(),
            Value::Integer(_) | Value::Flag(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        };
        duration.filter(|duration| range.contains(duration)).ok_or_else(|| field.is_not(&wanted))
    }

    /// The error of a required key that is not there.
    pub(super) fn missing(&self, key: &str, why: &str) -> ConfigError {
        let (place, key) = (self.place.clone(), joined(&self.name, key));
        let meant = self.misspelt(key.rsplit('.').next().unwrap_or(&key)).or_else(|| self.meant.clone());
        let why = match meant {
            Some((written, at)) => format!("{why}; {at}: is `{written}` misspelt?"),
            None => why.to_owned(),
        };
        ConfigError::Missing { place, key, why }
    }

    /// A key that stands there and looks like `key`, which does not.
    fn misspelt(&self, key: &str) -> Option<(String, Place)> {
        let written = near(key, self.entries.keys().map(String::as_str)).into_iter().next()?;
        let entry = self.entries.get(written)?;
        Some((joined(&self.name, written), entry.place.clone()))
    }

    /// The error of values that do not go together; `key` is the one to change.
    pub(super) fn refused(&self, key: &str, why: String) -> ConfigError {
        ConfigError::Invalid { place: self.place.clone(), key: key.to_owned(), why }
    }

    /// Refuses keys that nobody took.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        match self.entries.into_iter().next() {
            None => Ok(()),
            Some((key, entry)) => {
                let meant = did_you_mean(&key, self.known.iter().map(String::as_str));
                let key = joined(&self.name, &key);
                Err(ConfigError::UnknownKey { place: entry.place, key, meant, known: self.known })
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Field<Value>> {
        self.known.push(key.to_owned());
        let Entry { value, place } = self.entries.remove(key)?;
        Some(Field { value, name: joined(&self.name, key), place })
    }
}

impl<T> Field<T> {
    /// The error of a value that will not do.
    pub(super) fn invalid(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { place: self.place.clone(), key: self.name.clone(), why: why.into() }
    }
}

impl Field<Value> {
    fn is_not(&self, wanted: &str) -> ConfigError {
        match self.place {
            Place::Variable(_) => self.invalid(format!("must be {wanted}")),
            Place::Line { .. } | Place::File(_) => {
                self.invalid(format!("must be {wanted}, and this is {}", self.value.kind()))
            }
        }
    }
}

fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}
