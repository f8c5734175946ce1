//! Times and days as PostgreSQL sends them: whole microseconds, or days, since 2000-01-01 UTC.

use jiff::{Timestamp, civil::Date};
use sqlx::{
    Decode, Encode, Postgres, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, types::Oid},
};

/// A `timestamptz`. More than microseconds is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) Timestamp);

/// A `date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day(pub(super) Date);

impl Type<Postgres> for Instant {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ)
    }
}

impl PgHasArrayType for Instant {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(TIMESTAMPTZ_ARRAY)
    }
}

impl Encode<'_, Postgres> for Instant {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // A time before the year 1 is PostgreSQL's business to refuse.
        buf.extend_from_slice(&(self.0.as_microsecond() - EPOCH_MICROSECONDS).to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Instant {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let since = i64::from_be_bytes(binary(&value)?.try_into()?);
        let since_1970 = since.checked_add(EPOCH_MICROSECONDS).ok_or("infinity is no time")?;
        Ok(Self(Timestamp::from_microsecond(since_1970)?))
    }
}

impl Type<Postgres> for Day {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE)
    }
}

impl PgHasArrayType for Day {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(DATE_ARRAY)
    }
}

impl Encode<'_, Postgres> for Day {
    fn encode_by_ref(&self, buf: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buf.extend_from_slice(&self.0.since(EPOCH_DAY)?.get_days().to_be_bytes());
        Ok(IsNull::No)
    }
}

impl Decode<'_, Postgres> for Day {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        let days = i32::from_be_bytes(binary(&value)?.try_into()?);
        Ok(Self(EPOCH_DAY.checked_add(jiff::Span::new().try_days(days)?)?))
    }
}

fn binary<'v>(value: &PgValueRef<'v>) -> Result<&'v [u8], BoxDynError> {
    match value.format() {
        PgValueFormat::Binary => value.as_bytes(),
        PgValueFormat::Text => Err("times are read from prepared statements alone".into()),
    }
}

/// 2000-01-01, in microseconds since 1970-01-01.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
const EPOCH_DAY: Date = jiff::civil::date(2000, 1, 1);

/// From PostgreSQL's catalogue `pg_type.dat`; these never change.
const DATE: Oid = Oid(1082);
const DATE_ARRAY: Oid = Oid(1182);
const TIMESTAMPTZ: Oid = Oid(1184);
const TIMESTAMPTZ_ARRAY: Oid = Oid(1185);
