//! The form of `/metrics`: OpenMetrics, as the library writes it, and the older text format made of that.

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt::{self, Write};

/// What a scraper takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, which everything reads.
    Text,
}

impl Format {
    /// By the scraper's `Accept`.
    pub fn of(accept: &str) -> Format {
        if accept.contains("application/openmetrics-text") { Format::OpenMetrics } else { Format::Text }
    }

    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics in this format.
    pub fn write(self, open_metrics: String) -> String {
        match self {
            Format::OpenMetrics => open_metrics,
            Format::Text => text(&open_metrics),
        }
    }
}

/// The text format names a counter's family as its samples, with `_total`, and has neither units nor a mark of its end.
fn text(open_metrics: &str) -> String {
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    let mut help = "";
    for line in open_metrics.lines() {
        // Writing to a String can't fail.
        let _ = if let Some(of_next) = line.strip_prefix("# HELP ") {
            help = of_next;
            Ok(())
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' '))
        {
            let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
            let help = help.split_once(' ').map_or("", |(_, help)| help);
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
        } else if line.starts_with('#') {
            Ok(())
        } else {
            writeln!(out, "{line}")
        };
    }
    out
}

/// What a scrape gives, family by family.
pub struct Page<'a>(pub DescriptorEncoder<'a>);

impl Page<'_> {
    /// Without labels. The name gets `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)
    }

    /// One for each set of labels.
    pub fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_counter::<[(&str, &str); 0], u64, u64>(&value, None)?;
        }
        Ok(())
    }

    /// Without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// One for each set of labels.
    pub fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Of values by their upper bounds, each counted once, and their sum.
    pub fn histogram(&mut self, name: &str, help: &str, buckets: &[(f64, u64)], sum: f64) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<[(&str, &str); 0]>(sum, count, buckets, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapers_get_what_they_ask_for_and_the_text_format_otherwise() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::of(prometheus), Format::OpenMetrics);
        assert_eq!((Format::of("text/plain"), Format::of("")), (Format::Text, Format::Text));
    }

    #[test]
    fn the_text_format_names_counters_by_their_samples() {
        let open = "# HELP a_b What it is.\n# TYPE a_b counter\na_b_total{c=\"# d\"} 1\n# HELP e f\n# TYPE e gauge\ne 2\n# EOF\n";
        let plain = "# HELP a_b_total What it is.\n# TYPE a_b_total counter\na_b_total{c=\"# d\"} 1\n# HELP e f\n# TYPE e gauge\ne 2\n";
        assert_eq!(
            (Format::Text.write(open.into()).as_str(), Format::OpenMetrics.write(open.into()).as_str()),
            (plain, open)
        );
    }
}
