//! How long a call may take: what the client says in `grpc-timeout`, never more than the config allows.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// Kept back for the way of the answer to the client.
const KEPT_BACK: Duration = Duration::from_millis(20);

/// The time for one call: the client's, less what the answer's way takes, or `most`.
///
/// A malformed header counts as none: the gRPC specification lets a server ignore it.
pub(super) fn time_for(metadata: &MetadataMap, most: Duration) -> Duration {
    let asked = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(parse);
    asked.map_or(most, |asked| asked.saturating_sub(KEPT_BACK).min(most))
}

/// At most eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::metadata::MetadataMap;

    use super::{parse, time_for};

    #[test]
    fn a_timeout_is_eight_digits_and_a_unit() {
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for malformed in ["", "m", "5", "5x", "123456789S", "-5S", "5 S", "é"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn the_shorter_of_client_and_config_counts_and_the_answer_keeps_its_share() {
        let most = Duration::from_secs(5);
        let mut metadata = MetadataMap::new();
        assert_eq!(time_for(&metadata, most), most);
        metadata.insert("grpc-timeout", "120m".parse().unwrap());
        assert_eq!(time_for(&metadata, most), Duration::from_millis(100));
        metadata.insert("grpc-timeout", "1H".parse().unwrap());
        assert_eq!(time_for(&metadata, most), most);
        metadata.insert("grpc-timeout", "10m".parse().unwrap());
        assert_eq!(time_for(&metadata, most), Duration::ZERO);
    }
}
