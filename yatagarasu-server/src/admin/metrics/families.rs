//! Writes families of samples.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "otel")]
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use yatagarasu_core::histogram::Distribution;

/// The type of a sample without a label.
pub(super) const NONE: [(&str, &str); 0] = [];

/// Writes one family after the other. A family without samples is left out.
pub(super) struct Families<'a>(DescriptorEncoder<'a>);

impl<'a> Families<'a> {
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// Writes a family of counters. `_total` is added to the name.
    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let Some(samples) = present(samples) else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            family.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// Writes a counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [(NONE, value)])
    }

    /// Writes a family of gauges.
    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let Some(samples) = present(samples) else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            // A limit may stand for none.
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Writes a gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [(NONE, value)])
    }

    /// Writes a counter of seconds. `_seconds_total` is added to the name.
    pub(super) fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Counter)?;
        family.encode_counter::<[(&str, &str); 0], _, u64>(&value.as_secs_f64(), None)
    }

    /// Writes a family of histograms of seconds. `_seconds` is added to the name. Histograms of nothing are left out.
    pub(super) fn histograms<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, Distribution)>,
    ) -> fmt::Result {
        let counted = samples.into_iter().filter(|(_, sample)| sample.count() > 0);
        let Some(samples) = present(counted) else { return Ok(()) };
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (labels, sample) in samples {
            let bounds = sample.bounds.iter().map(|nanos| seconds(*nanos)).chain([f64::INFINITY]);
            let buckets: Vec<_> = bounds.zip(sample.counts.iter().copied()).collect();
            let mut family = family.encode_family(&labels)?;
            family.encode_histogram::<[(&str, &str); 0]>(
                seconds(sample.sum),
                sample.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }

    /// Writes a family of histograms of seconds, as the library has counted it. `_seconds` is added to the name.
    #[cfg(feature = "otel")]
    pub(super) fn counted_histograms(
        &mut self,
        name: &str,
        help: &str,
        histograms: &impl EncodeMetric,
    ) -> fmt::Result {
        histograms.encode(self.0.encode_descriptor(
            name,
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?)
    }

    /// Writes facts as labels of a metric that is 1. `_info` is added to the name.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &impl EncodeLabelSet) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(labels)
    }
}

/// Returns the samples, or `None` if there are none.
fn present<S>(samples: impl IntoIterator<Item = S>) -> Option<impl Iterator<Item = S>> {
    let mut samples = samples.into_iter().peekable();
    samples.peek().is_some().then_some(samples)
}

/// Returns nanoseconds in seconds. Divides, because a product of the decimal fraction would not be the nearest number.
fn seconds(nanos: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a sum of months is exact to a microsecond")]
    let nanos = nanos as f64;
    nanos / 1e9
}
