//! Metrics of buckets, their caches and their sources.

use std::fmt;
use std::sync::Arc;

use yatagarasu_core::cache::CacheCounters;
use yatagarasu_core::source::metered::{OPERATIONS, RESULTS, is_failure};
use yatagarasu_s3::CredentialsStatus;

use crate::admin::metrics::clients::unix_seconds;
use crate::admin::metrics::families::Families;
use crate::admin::purge::WAYS;
use crate::build::origin::Origin;
use crate::service::buckets::{Bucket, Buckets};
use crate::telemetry::failures::FAULTS;

pub(super) fn write(families: &mut Families<'_>, buckets: &Buckets) -> fmt::Result {
    cache(families, buckets.all())?;
    purges(families, buckets.all())?;
    failures(families, buckets.all())?;
    let origins: Vec<&Origin> = buckets.all().iter().flat_map(|bucket| &bucket.origins).collect();
    requests(families, &origins)?;
    healing(families, &origins)?;
    credentials(families, &origins)
}

/// The name and the meaning of a family of samples, and how one is read.
type Family<T> = (&'static str, &'static str, fn(&T) -> u64);

fn label(name: &str) -> [(&'static str, &str); 1] {
    [("bucket", name)]
}

fn cache(families: &mut Families<'_>, buckets: &[Arc<Bucket>]) -> fmt::Result {
    let gauges: [Family<Bucket>; 4] = [
        ("cache_objects", "Objects in the cache.", |bucket| bucket.gateway.usage().objects),
        ("cache_bytes", "Bytes in the cache, bookkeeping included.", |bucket| bucket.gateway.usage().bytes),
        ("cache_bytes_max", "Limit of these bytes.", |bucket| bucket.gateway.usage().capacity),
        ("fills_running", "Objects being fetched into the cache.", |bucket| {
            bucket.gateway.fills_running() as u64
        }),
    ];
    for (name, help, read) in gauges {
        families.gauges(name, help, buckets.iter().map(|bucket| (label(&bucket.name), read(bucket))))?;
    }
    let stored = buckets.iter().map(|bucket| (label(&bucket.name), bucket.gateway.stats().stored));
    families.counters("cache_stored", "Objects, and parts of objects, stored.", stored)?;
    let counters: Vec<(&str, CacheCounters)> =
        buckets.iter().map(|bucket| (&*bucket.name, bucket.gateway.cache_counters())).collect();
    let declined = counters.iter().map(|(name, counters)| (label(name), counters.declined));
    families.counters("cache_declined", "Entries that the cache did not take.", declined)?;
    let removed = counters.iter().flat_map(|(name, counters)| {
        let CacheCounters { evicted, replaced, removed, .. } = *counters;
        let reasons = [("evicted", evicted), ("replaced", replaced), ("removed", removed)];
        reasons.map(|(reason, count)| ([("bucket", *name), ("reason", reason)], count))
    });
    let help = "Entries that have left the cache: for others, for a newer one, or by a purge and the like.";
    families.counters("cache_removed", help, removed)?;
    let ages = counters.into_iter().map(|(name, counters)| (label(name), counters.eviction_ages));
    families.histograms("cache_eviction_age", "Age of the entries that were evicted.", ages)
}

fn purges(families: &mut Families<'_>, buckets: &[Arc<Bucket>]) -> fmt::Result {
    let purges = buckets.iter().flat_map(|bucket| {
        let ways = WAYS.iter().zip(bucket.purges.counts());
        ways.map(|(by, count)| ([("bucket", &*bucket.name), ("by", *by)], count))
    });
    families.counters("purges", "Purges, by what they select.", purges)?;
    let objects = buckets.iter().map(|bucket| (label(&bucket.name), bucket.purges.objects()));
    families.counters("purged_objects", "Objects dropped or marked stale by purges.", objects)
}

fn failures(families: &mut Families<'_>, buckets: &[Arc<Bucket>]) -> fmt::Result {
    let errors = buckets.iter().flat_map(|bucket| {
        let faults = FAULTS.iter().zip(bucket.failures.counts());
        faults.map(|((_, fault), count)| ([("bucket", &*bucket.name), ("fault", *fault)], count))
    });
    let help = "Errors of requests to the source, by the party at fault.";
    families.counters("source_errors", help, errors)?;
    let with_fallback = buckets.iter().filter(|bucket| bucket.origins.len() > 1);
    let answered = with_fallback.map(|bucket| (label(&bucket.name), bucket.failover.answered()));
    families.counters("source_failover", "Requests that a fallback has answered.", answered)
}

fn requests(families: &mut Families<'_>, origins: &[&Origin]) -> fmt::Result {
    let counted = origins.iter().flat_map(|origin| {
        let requests = origin.meters.requests();
        let operations = OPERATIONS.iter().zip(requests);
        operations.flat_map(move |((_, operation), results)| {
            // Series that alerts use exist from the start: `rate()` misses the step from absent to 1.
            let may_fail = *operation == "get";
            let results = RESULTS.iter().zip(results);
            let results = results.filter(move |(result, count)| *count > 0 || may_fail && is_failure(result));
            results.map(move |(result, count)| {
                let labels = [("bucket", &*origin.name), ("operation", *operation), ("result", *result)];
                (labels, count)
            })
        })
    });
    families.counters("source_requests", "Requests to S3, each attempt by itself.", counted)?;
    let bytes = origins.iter().map(|origin| (label(&origin.name), origin.meters.body_bytes()));
    families.counters("source_body_bytes", "Bytes of bodies that came from S3.", bytes)?;
    let running = origins.iter().map(|origin| (label(&origin.name), origin.meters.running()));
    families.gauges("source_requests_running", "Requests to S3 that have not ended.", running)?;
    let first_byte = origins.iter().map(|origin| (label(&origin.name), origin.meters.first_byte()));
    let help = "Time from a request to S3 to the head of its response, or to the failure.";
    families.histograms("source_time_to_first_byte", help, first_byte)?;
    let duration = origins.iter().map(|origin| (label(&origin.name), origin.meters.duration()));
    let help = "Time from a GET to S3 to the end of the body, or to where it was left.";
    families.histograms("source_request_duration", help, duration)
}

/// Writes what was done to heal the faults of the sources.
fn healing(families: &mut Families<'_>, origins: &[&Origin]) -> fmt::Result {
    let counters: [Family<Origin>; 8] = [
        ("source_retries", "Requests sent to S3 again.", |origin| origin.healing.stats().retried),
        (
            "source_retries_refused",
            "Requests not sent again, because a fifth of all already were.",
            |origin| origin.healing.stats().exhausted,
        ),
        ("source_resumed", "Bodies of S3 that broke off and were continued.", |origin| {
            origin.healing.stats().resumed
        }),
        ("source_resumed_bytes", "Bytes of continued bodies that were not sent a second time.", |origin| {
            origin.healing.stats().resumed_bytes
        }),
        ("source_broken", "Bodies of S3 that broke off and could not be continued.", |origin| {
            origin.healing.stats().broken
        }),
        ("source_hedged", "Second requests, because the first ones took long.", |origin| {
            origin.healing.stats().hedged
        }),
        ("source_hedges_won", "Second requests that were answered first.", |origin| {
            origin.healing.stats().hedges_won
        }),
        ("source_refused", "Requests not sent because S3 is down.", |origin| origin.circuit.refused()),
    ];
    for (name, help, read) in counters {
        families.counters(name, help, origins.iter().map(|origin| (label(&origin.name), read(origin))))?;
    }
    let up = origins.iter().map(|origin| (label(&origin.name), u64::from(!origin.circuit.is_open())));
    families.gauges("source_up", "0 while S3 is down and is not asked, else 1.", up)
}

fn credentials(families: &mut Families<'_>, origins: &[&Origin]) -> fmt::Result {
    let valid =
        origins.iter().map(|origin| (label(&origin.name), u64::from(origin.built.credentials().is_usable())));
    families.gauges("credentials_valid", "0 if there are no credentials, or S3 refuses them.", valid)?;
    let expiry = origins.iter().filter_map(|origin| match origin.built.credentials() {
        CredentialsStatus::Valid { until: Some(until) } => Some((label(&origin.name), unix_seconds(until))),
        _ => None,
    });
    families.gauges("credentials_expiry_timestamp_seconds", "When the credentials expire.", expiry)
}
