//! Statistics of a running server, as a table or as JSON.

use serde::{Deserialize, Serialize};

use super::error::AdminError;
use super::table::table;
use crate::words::{ratio, size};

/// The statistics that the admin API returns.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Stats {
    buckets: Vec<BucketStats>,
    fill_memory: Memory,
    socket_memory: Memory,
}

#[derive(Debug, Deserialize, Serialize)]
struct BucketStats {
    bucket: String,
    path_prefix: String,
    objects: u64,
    bytes: u64,
    /// 0 if caching is off.
    max_bytes: u64,
    hits: u64,
    forwards: u64,
    collapsed: u64,
    revalidated: u64,
    stale: u64,
    stored: u64,
    errors: u64,
}

/// Use and limit of a memory budget that all buckets share, in bytes.
#[derive(Debug, Deserialize, Serialize)]
struct Memory {
    bytes: u64,
    max_bytes: u64,
}

/// The column headings of the table.
const HEADINGS: [&str; 13] = [
    "BUCKET",
    "PREFIX",
    "OBJECTS",
    "SIZE",
    "MAX SIZE",
    "HITS",
    "FORWARDS",
    "HIT RATIO",
    "COLLAPSED",
    "REVALIDATED",
    "STALE",
    "STORED",
    "ERRORS",
];

/// Number of leading columns that hold text, not numbers.
const TEXT_COLUMNS: usize = 2;

impl Stats {
    /// Returns the statistics of one bucket only, or an error if there is no such bucket.
    pub(super) fn only(mut self, bucket: &str) -> Result<Self, AdminError> {
        let known: Vec<String> = self.buckets.iter().map(|stats| stats.bucket.clone()).collect();
        self.buckets.retain(|stats| stats.bucket == bucket);
        if self.buckets.is_empty() {
            return Err(AdminError::NoSuchBucket { bucket: bucket.to_owned(), known: known.join(", ") });
        }
        Ok(self)
    }

    /// Returns the statistics as JSON, for programs.
    pub(super) fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("numbers and texts are JSON");
        format!("{text}\n")
    }

    /// Returns the statistics as a table, for people.
    pub(super) fn table(&self) -> String {
        let headings = HEADINGS.map(str::to_owned);
        let rows: Vec<_> = std::iter::once(headings).chain(self.buckets.iter().map(cells)).collect();
        format!(
            "{}\nmemory of objects being stored, all buckets: {}\nmemory of fast streams, all buckets: {}\n",
            table(&rows, TEXT_COLUMNS),
            self.fill_memory.words(),
            self.socket_memory.words()
        )
    }
}

impl Memory {
    fn words(&self) -> String {
        format!("{} of {}", size(self.bytes), size(self.max_bytes))
    }
}

fn cells(stats: &BucketStats) -> [String; HEADINGS.len()] {
    let cached = |text: String| if stats.max_bytes == 0 { "-".to_owned() } else { text };
    [
        stats.bucket.clone(),
        stats.path_prefix.clone(),
        cached(stats.objects.to_string()),
        cached(size(stats.bytes)),
        cached(size(stats.max_bytes)),
        stats.hits.to_string(),
        stats.forwards.to_string(),
        ratio(stats.hits, stats.hits.saturating_add(stats.forwards)),
        stats.collapsed.to_string(),
        stats.revalidated.to_string(),
        stats.stale.to_string(),
        stats.stored.to_string(),
        stats.errors.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
  "buckets": [
    {
      "bucket": "assets",
      "path_prefix": "/static",
      "objects": 12,
      "bytes": 1234567,
      "max_bytes": 1000000000,
      "hits": 2,
      "forwards": 1,
      "collapsed": 0,
      "revalidated": 0,
      "stale": 0,
      "stored": 1,
      "errors": 0
    },
    {
      "bucket": "v",
      "path_prefix": "/",
      "objects": 0,
      "bytes": 0,
      "max_bytes": 0,
      "hits": 0,
      "forwards": 0,
      "collapsed": 0,
      "revalidated": 0,
      "stale": 0,
      "stored": 0,
      "errors": 0
    }
  ],
  "fill_memory": {
    "bytes": 0,
    "max_bytes": 256000000
  },
  "socket_memory": {
    "bytes": 16777216,
    "max_bytes": 134217728
  }
}
"#;

    fn stats() -> Stats {
        serde_json::from_str(ANSWER).unwrap()
    }

    #[test]
    fn columns_are_aligned() {
        let expected = "\
BUCKET  PREFIX   OBJECTS    SIZE  MAX SIZE  HITS  FORWARDS  HIT RATIO  COLLAPSED  REVALIDATED  STALE  STORED  ERRORS
assets  /static       12  1.2 MB      1 GB     2         1      66.6%          0            0      0       1       0
v       /              -       -         -     0         0          -          0            0      0       0       0

memory of objects being stored, all buckets: 0 B of 256 MB
memory of fast streams, all buckets: 16.7 MB of 134.2 MB
";
        assert_eq!(stats().table(), expected);
    }

    #[test]
    fn json_is_what_the_server_says() {
        assert_eq!(stats().json(), ANSWER);
    }

    #[test]
    fn an_unknown_bucket_names_those_there_are() {
        assert_eq!(stats().only("v").unwrap().buckets.len(), 1);
        let error = stats().only("x").unwrap_err().to_string();
        assert_eq!(error, "there is no bucket `x`; there are: assets, v");
    }
}
