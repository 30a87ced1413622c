//! The text form of Prometheus, version 0.0.4. Never here: what is measured.

use std::fmt::{Display, Write as _};

use super::names::{Family, Kind};

/// The type of a page.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page in the making. Samples of a family follow each other.
#[derive(Debug, Default)]
pub(super) struct Page(String);

/// How many there were of each size.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sizes {
    /// Each bucket's upper bound, and how many were at most that large; growing.
    pub(super) buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub(super) count: u64,
    /// What they add up to.
    pub(super) sum: f64,
}

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn begin(&mut self, family: &Family) {
        let Family { name, kind, labels: _, help } = family;
        // Writing to a text cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {}", kind.word());
    }

    /// A sample; `labels` are the values, in the family's order.
    pub(super) fn sample(&mut self, family: &Family, labels: &[&str], value: impl Display) {
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        self.line(family.name, "", family, labels, None, value);
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, family: &Family, value: impl Display) {
        self.begin(family);
        self.sample(family, &[], value);
    }

    /// The samples of a histogram.
    pub(super) fn sizes(&mut self, family: &Family, labels: &[&str], sizes: &Sizes) {
        debug_assert_eq!(family.kind, Kind::Histogram);
        let Sizes { buckets, count, sum } = sizes;
        for (bound, below) in buckets {
            self.line(family.name, "_bucket", family, labels, Some(&bound.to_string()), below);
        }
        self.line(family.name, "_bucket", family, labels, Some("+Inf"), count);
        self.line(family.name, "_sum", family, labels, None, sum);
        self.line(family.name, "_count", family, labels, None, count);
    }

    fn line(
        &mut self,
        name: &str,
        suffix: &str,
        family: &Family,
        values: &[&str],
        bound: Option<&str>,
        value: impl Display,
    ) {
        let labels = family.labels.iter().copied().zip(values.iter().copied());
        let labels = labels.chain(bound.map(|bound| ("le", bound)));
        let labels: Vec<_> = labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name}{suffix} {value}")
        } else {
            writeln!(self.0, "{name}{suffix}{{{}}} {value}", labels.join(","))
        };
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::{super::names, *};

    #[test]
    fn a_page_is_what_prometheus_reads() {
        let mut page = Page::default();
        page.single(&names::OPEN_TASKS, 3);
        page.begin(&names::AGENT_WORKERS);
        page.sample(&names::AGENT_WORKERS, &["a\"b\\c\nd"], 1);
        page.begin(&names::CALL_SECONDS);
        let sizes = Sizes { buckets: vec![(0.005, 1), (2.5, 2)], count: 3, sum: 9.25 };
        page.sizes(&names::CALL_SECONDS, &["Tasks/Submit"], &sizes);
        let expected = r#"# HELP bailiwick_open_tasks Tasks that have not ended.
# TYPE bailiwick_open_tasks gauge
bailiwick_open_tasks 3
# HELP bailiwick_agent_workers Workers that serve the agent now.
# TYPE bailiwick_agent_workers gauge
bailiwick_agent_workers{agent="a\"b\\c\nd"} 1
# HELP bailiwick_rpc_duration_seconds Time from a unary call's arrival to the end of its answer.
# TYPE bailiwick_rpc_duration_seconds histogram
bailiwick_rpc_duration_seconds_bucket{method="Tasks/Submit",le="0.005"} 1
bailiwick_rpc_duration_seconds_bucket{method="Tasks/Submit",le="2.5"} 2
bailiwick_rpc_duration_seconds_bucket{method="Tasks/Submit",le="+Inf"} 3
bailiwick_rpc_duration_seconds_sum{method="Tasks/Submit"} 9.25
bailiwick_rpc_duration_seconds_count{method="Tasks/Submit"} 3
"#;
        assert_eq!(page.finish(), expected);
    }
}
