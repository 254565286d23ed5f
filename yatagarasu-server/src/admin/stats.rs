//! `GET /stats`: counters and memory use as JSON.

use serde_json::{Value, json};
use yatagarasu_core::Budget;

use crate::build::Memory;
use crate::service::buckets::Buckets;

/// Returns the counters and the cache usage of each bucket, and the use of the memory budgets.
pub(super) fn stats(buckets: &Buckets, memory: &Memory) -> Value {
    let buckets: Vec<Value> = buckets
        .all()
        .iter()
        .map(|bucket| {
            let (stats, usage) = (bucket.gateway.stats(), bucket.gateway.usage());
            json!({
                "bucket": *bucket.name,
                "hosts": bucket.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "path_prefix": bucket.path_prefix,
                "objects": usage.objects,
                "bytes": usage.bytes,
                "max_bytes": usage.capacity,
                "hits": stats.hits,
                "forwards": stats.forwards,
                "collapsed": stats.collapsed,
                "revalidated": stats.revalidated,
                "stale": stats.stale,
                "stored": stats.stored,
                "errors": stats.errors,
            })
        })
        .collect();
    json!({
        "buckets": buckets,
        "fill_memory": budget(&memory.fills),
        "socket_memory": budget(&memory.sockets),
    })
}

fn budget(budget: &Budget) -> Value {
    json!({ "bytes": budget.reserved(), "max_bytes": budget.bytes_max() })
}
