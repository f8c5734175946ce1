//! The W3C trace context of a call: which trace it belongs to. A malformed one counts as none.

use tonic::codegen::http::HeaderMap;

/// The trace that a call belongs to, and the span that caused it: lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TraceContext {
    pub(super) trace: String,
    pub(super) parent: String,
}

impl TraceContext {
    /// Reads the `traceparent` header (W3C Trace Context, level 1, section 3.2).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all("traceparent").iter();
        let value = values.next()?.to_str().ok()?;
        // More than one is malformed.
        values.next().is_none().then(|| Self::parse(value)).flatten()
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let [version, trace, parent, flags] = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let is_hex = |part: &str, length| {
            part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_set = |part: &str| part.bytes().any(|byte| byte != b'0');
        let is_known = is_hex(version, 2) && version != "ff" && is_hex(flags, 2);
        // Version 00 has four parts; later ones may have more.
        let is_whole = parts.next().is_none() || version != "00";
        let names = is_hex(trace, 32) && is_set(trace) && is_hex(parent, 16) && is_set(parent);
        (is_known && is_whole && names).then(|| Self { trace: trace.to_owned(), parent: parent.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    #[test]
    fn a_sound_header_names_trace_and_parent() {
        let expected = Some(TraceContext { trace: TRACE.to_owned(), parent: PARENT.to_owned() });
        assert_eq!(TraceContext::parse(&format!("00-{TRACE}-{PARENT}-01")), expected);
        assert_eq!(TraceContext::parse(&format!("01-{TRACE}-{PARENT}-00-later")), expected);
    }

    #[test]
    fn a_malformed_header_is_none() {
        for malformed in [
            String::new(),
            format!("00-{TRACE}-{PARENT}"),
            format!("00-{TRACE}-{PARENT}-01-more"),
            format!("ff-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", TRACE.to_uppercase()),
            format!("00-{}-{PARENT}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}x-{PARENT}-01"),
            format!("00-{TRACE}-{PARENT}-1"),
            format!("0-{TRACE}-{PARENT}-01"),
        ] {
            assert_eq!(TraceContext::parse(&malformed), None, "{malformed}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
        }
        assert_eq!(TraceContext::of(&twice), None);
    }
}
