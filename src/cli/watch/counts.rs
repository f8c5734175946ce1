//! The counts of a moment, read from the text that Prometheus reads, too: one source, two readers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What was counted up to a moment.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Counts {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Counts {
    /// Reads the text form of the metrics. What is no sample is passed over.
    pub(in crate::cli) fn of(text: &str) -> Self {
        Self { samples: text.lines().filter_map(sample).collect() }
    }

    /// The sum of a metric over all its series.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.named(name).map(|sample| sample.value).sum()
    }

    /// The sums of a metric, by one of its labels, the largest first.
    pub(super) fn by(&self, name: &str, label: &str) -> Vec<(String, f64)> {
        let mut sums = BTreeMap::new();
        for sample in self.named(name) {
            if let Some(value) = sample.labels.get(label) {
                *sums.entry(value.clone()).or_insert(0.0) += sample.value;
            }
        }
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        sums
    }

    /// A label of a metric that only informs.
    pub(super) fn told(&self, name: &str, label: &str) -> Option<&str> {
        let found = self.samples.iter().find(|sample| sample.name == name)?;
        found.labels.get(label).map(String::as_str)
    }

    /// The time within which this share of what a histogram has counted since `before` was done, in seconds: the upper edge
    /// of its bucket. `None`: nothing was counted.
    pub(super) fn quantile(&self, before: &Self, name: &str, share: f64) -> Option<f64> {
        let (now, then) = (self.buckets(name), before.buckets(name));
        let counted = |edge: &Edge| now.get(edge).unwrap_or(&0.0) - then.get(edge).unwrap_or(&0.0);
        let all = counted(&Edge::INFINITE);
        let within = now.keys().find(|edge| counted(edge) >= share * all)?;
        (all > 0.0).then_some(within.0)
    }

    /// The mean of what a histogram has counted since `before` under this label, in seconds.
    pub(super) fn mean(&self, before: &Self, name: &str, labelled: (&str, &str)) -> Option<f64> {
        let of = |counts: &Self, end: &str| -> f64 {
            let name = format!("{name}_{end}");
            let (label, value) = labelled;
            let of_it = |sample: &&Sample| sample.labels.get(label).is_some_and(|found| found == value);
            counts.named(&name).filter(of_it).map(|sample| sample.value).sum()
        };
        let count = of(self, "count") - of(before, "count");
        (count > 0.0).then(|| (of(self, "sum") - of(before, "sum")) / count)
    }

    /// What a machine is told each second.
    pub(super) fn to_json(&self) -> Value {
        let by = |name, label| {
            let sums = self.by(name, label).into_iter().map(|(key, value)| (key, json!(value)));
            Value::Object(sums.collect())
        };
        json!({
            "serving": self.sum("countersign_serving") > 0.0,
            "policy_revision": self.told("countersign_policy_info", "revision"),
            "calls": by("countersign_calls_total", "status"),
            "calls_in_flight": self.sum("countersign_calls_in_flight"),
            "decisions": by("countersign_decisions_total", "decision"),
            "attempts": by("countersign_passphrase_proofs_total", "proof"),
            "lanes": by("countersign_passphrase_proofs_total", "lane"),
            "alarms": self.sum("countersign_alarms_total"),
            "hash_queue_depth": self.sum("countersign_hash_queue_depth"),
            "hashes_shed": self.sum("countersign_hashes_shed_total"),
            "audit_queue_depth": self.sum("countersign_audit_queue_depth"),
            "audit_writable": self.sum("countersign_audit_writable") > 0.0,
            "call_duration_seconds": {
                "p50": self.quantile(&Self::default(), CALL_TIME, 0.5),
                "p99": self.quantile(&Self::default(), CALL_TIME, 0.99),
            },
        })
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// How much a histogram counted up to each edge, over all its series.
    fn buckets(&self, name: &str) -> BTreeMap<Edge, f64> {
        let mut buckets = BTreeMap::new();
        for sample in self.named(&format!("{name}_bucket")) {
            if let Some(edge) = sample.labels.get("le").and_then(|edge| edge.parse().ok()) {
                *buckets.entry(Edge(edge)).or_insert(0.0) += sample.value;
            }
        }
        buckets
    }
}

/// The histogram of the calls.
pub(super) const CALL_TIME: &str = "countersign_call_duration_seconds";

/// The upper edge of a bucket, in seconds.
#[derive(Clone, Copy, Debug)]
struct Edge(f64);

impl Edge {
    const INFINITE: Self = Self(f64::INFINITY);
}

impl Ord for Edge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Edge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Edge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Edge {}

/// `name{label="value",…} number`. No label of ours holds a quote, a comma or a brace.
fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels.trim_end_matches('}').split(',').filter_map(|label| {
        let (name, value) = label.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').to_owned()))
    });
    Some(Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP countersign_decisions_total Decisions.
# TYPE countersign_decisions_total counter
countersign_decisions_total{decision="ALLOW",client="ivr"} 3
countersign_decisions_total{decision="DENY",client="ivr"} 1
countersign_decisions_total{decision="DENY",client="portal"} 4
countersign_policy_info{revision="abc"} 1
countersign_call_duration_seconds_bucket{le="0.001",rpc="Authorize"} 90
countersign_call_duration_seconds_bucket{le="0.5",rpc="Authorize"} 99
countersign_call_duration_seconds_bucket{le="+Inf",rpc="Authorize"} 100
countersign_step_duration_seconds_sum{step="hash"} 0.5
countersign_step_duration_seconds_count{step="hash"} 10
"#;

    #[test]
    fn sums_are_over_all_series_or_by_a_label() {
        let counts = Counts::of(TEXT);
        assert_eq!(counts.sum("countersign_decisions_total"), 8.0);
        let by = counts.by("countersign_decisions_total", "decision");
        assert_eq!(by, [("DENY".to_owned(), 5.0), ("ALLOW".to_owned(), 3.0)]);
        assert_eq!(counts.told("countersign_policy_info", "revision"), Some("abc"));
        assert_eq!(counts.sum("countersign_nothing"), 0.0);
    }

    #[test]
    fn quantiles_and_means_are_of_what_came_since() {
        let (counts, before) = (Counts::of(TEXT), Counts::default());
        assert_eq!(counts.quantile(&before, CALL_TIME, 0.5), Some(0.001));
        assert_eq!(counts.quantile(&before, CALL_TIME, 0.99), Some(0.5));
        assert_eq!(counts.quantile(&before, CALL_TIME, 1.0), Some(f64::INFINITY));
        assert_eq!(counts.quantile(&counts, CALL_TIME, 0.5), None);
        let hash = ("step", "hash");
        assert_eq!(counts.mean(&before, "countersign_step_duration_seconds", hash), Some(0.05));
        assert_eq!(counts.mean(&counts, "countersign_step_duration_seconds", hash), None);
    }
}
