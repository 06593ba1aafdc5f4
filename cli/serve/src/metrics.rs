//! Figures, in the text format of Prometheus. No label holds what a user can make up.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Upper bounds of the buckets of seconds.
const BUCKETS: [f64; 12] = [
    0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// All figures of a server.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Mutex<Figures>);

#[derive(Debug, Default)]
struct Figures {
    /// By name and labels, as they are printed.
    counts: BTreeMap<(&'static str, String), u64>,
    seconds: BTreeMap<&'static str, Histogram>,
    gauges: BTreeMap<&'static str, i64>,
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// What the names mean.
const HELP: [(&str, &str, &str); 8] = [
    (
        "sealpack_answers_total",
        "counter",
        "Answers by path, operation and verdict.",
    ),
    ("sealpack_images_total", "counter", "Images by verdict."),
    (
        "sealpack_refused_requests_total",
        "counter",
        "Requests that were not answered by a review, by reason.",
    ),
    (
        "sealpack_reloads_total",
        "counter",
        "Reloads by what was reloaded and outcome.",
    ),
    (
        "sealpack_connections_total",
        "counter",
        "Connections that were accepted.",
    ),
    (
        "sealpack_answer_seconds",
        "histogram",
        "How long answers took, by path.",
    ),
    (
        "sealpack_connections",
        "gauge",
        "Connections that are open.",
    ),
    ("sealpack_requests", "gauge", "Requests that are worked on."),
];

impl Metrics {
    /// One more of these.
    pub(crate) fn count(&self, name: &'static str, labels: &[(&str, &str)]) {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        *self
            .figures()
            .counts
            .entry((name, labels.join(",")))
            .or_default() += 1;
    }

    /// So many more or less of these at the moment.
    pub(crate) fn change(&self, name: &'static str, by: i64) {
        *self.figures().gauges.entry(name).or_default() += by;
    }

    /// An answer on this path took so long.
    pub(crate) fn took(&self, path: &'static str, time: Duration) {
        let seconds = time.as_secs_f64();
        let mut figures = self.figures();
        let histogram = figures.seconds.entry(path).or_default();
        histogram.count += 1;
        histogram.sum += seconds;
        for (bucket, bound) in histogram.buckets.iter_mut().zip(BUCKETS) {
            if seconds <= bound {
                *bucket += 1;
            }
        }
    }

    /// All of it, and `others`: name, help, value.
    pub(crate) fn text(&self, others: &[(&'static str, &'static str, u64)]) -> String {
        let figures = self.figures();
        let mut text = String::new();
        for (name, kind, help) in HELP {
            // Writing to a string does not fail.
            let mut line = |it: std::fmt::Arguments<'_>| text.write_fmt(it).unwrap_or_default();
            line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for ((_, labels), value) in figures.counts.iter().filter(|((it, _), _)| *it == name) {
                match labels.as_str() {
                    "" => line(format_args!("{name} {value}\n")),
                    labels => line(format_args!("{name}{{{labels}}} {value}\n")),
                }
            }
            if kind == "gauge" {
                let value = figures.gauges.get(name).copied().unwrap_or_default();
                line(format_args!("{name} {value}\n"));
            }
            if kind == "histogram" {
                for (path, it) in &figures.seconds {
                    for (count, bound) in it.buckets.iter().zip(BUCKETS) {
                        line(format_args!(
                            "{name}_bucket{{path=\"{path}\",le=\"{bound}\"}} {count}\n"
                        ));
                    }
                    let Histogram { count, sum, .. } = it;
                    line(format_args!(
                        "{name}_bucket{{path=\"{path}\",le=\"+Inf\"}} {count}\n"
                    ));
                    line(format_args!("{name}_sum{{path=\"{path}\"}} {sum}\n"));
                    line(format_args!("{name}_count{{path=\"{path}\"}} {count}\n"));
                }
            }
        }
        for (name, help, value) in others {
            let line = format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n");
            text.write_fmt(line).unwrap_or_default();
        }
        text
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_printed_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.count("sealpack_images_total", &[("verdict", "accepted")]);
        metrics.count("sealpack_images_total", &[("verdict", "accepted")]);
        metrics.count("sealpack_connections_total", &[]);
        metrics.change("sealpack_requests", 2);
        metrics.change("sealpack_requests", -1);
        metrics.took("validate", Duration::from_millis(3));
        let text = metrics.text(&[("sealpack_policies", "Policies.", 7)]);
        for line in [
            "# TYPE sealpack_images_total counter",
            "sealpack_images_total{verdict=\"accepted\"} 2",
            "sealpack_connections_total 1",
            "sealpack_connections 0",
            "sealpack_requests 1",
            "sealpack_answer_seconds_bucket{path=\"validate\",le=\"0.002\"} 0",
            "sealpack_answer_seconds_bucket{path=\"validate\",le=\"0.005\"} 1",
            "sealpack_answer_seconds_bucket{path=\"validate\",le=\"+Inf\"} 1",
            "sealpack_answer_seconds_sum{path=\"validate\"} 0.003",
            "sealpack_policies 7",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        for line in text.lines().filter(|it| !it.starts_with('#')) {
            let (_, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
