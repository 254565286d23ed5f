//! Statistics of a running server, as a table or as JSON.

use serde::{Deserialize, Serialize};

use super::error::AdminError;
use super::table::table;
use crate::words::{ratio, size};

/// How statistics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Table,
    WideTable,
    Json,
}

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

/// A column of the table: its heading, and the text of its cell.
type Column = (&'static str, fn(&BucketStats) -> String);

/// The columns that everybody looks at. They fit in a terminal of 80 characters unless names are long.
const COLUMNS: [Column; 8] = [
    ("BUCKET", |stats| stats.bucket.clone()),
    ("PREFIX", |stats| stats.path_prefix.clone()),
    ("OBJECTS", |stats| stats.cached(stats.objects.to_string())),
    ("SIZE", |stats| stats.cached(size(stats.bytes))),
    ("HITS", |stats| stats.hits.to_string()),
    ("FORWARDS", |stats| stats.forwards.to_string()),
    ("HIT RATIO", |stats| ratio(stats.hits, stats.hits.saturating_add(stats.forwards))),
    ("ERRORS", |stats| stats.errors.to_string()),
];

/// The other columns.
const MORE_COLUMNS: [Column; 5] = [
    ("MAX SIZE", |stats| stats.cached(size(stats.max_bytes))),
    ("COLLAPSED", |stats| stats.collapsed.to_string()),
    ("REVALIDATED", |stats| stats.revalidated.to_string()),
    ("STALE", |stats| stats.stale.to_string()),
    ("STORED", |stats| stats.stored.to_string()),
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

    /// Returns the statistics in a form.
    pub(super) fn rendered(&self, form: Form) -> String {
        match form {
            Form::Table => self.table(),
            Form::WideTable => self.wide_table(),
            Form::Json => self.json(),
        }
    }

    /// Returns the statistics as JSON in one line.
    pub(super) fn json_line(&self) -> String {
        format!("{}\n", serde_json::to_string(self).expect("numbers and texts are JSON"))
    }

    /// Returns the statistics as JSON, for programs.
    fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("numbers and texts are JSON");
        format!("{text}\n")
    }

    /// Returns the statistics that matter most as a table, for people.
    fn table(&self) -> String {
        self.table_of(&COLUMNS)
    }

    /// Returns all statistics as a table.
    fn wide_table(&self) -> String {
        self.table_of(&[&COLUMNS[..], &MORE_COLUMNS].concat())
    }

    fn table_of(&self, columns: &[Column]) -> String {
        let headings = columns.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let cells = |stats| columns.iter().map(|(_, cell)| cell(stats)).collect();
        let rows: Vec<Vec<String>> =
            std::iter::once(headings).chain(self.buckets.iter().map(cells)).collect();
        format!(
            "{}\nfill memory, all buckets: {}\nsocket memory, all buckets: {}\n",
            table(&rows, TEXT_COLUMNS),
            self.fill_memory.words(),
            self.socket_memory.words()
        )
    }

    /// Returns advice if `named`, which selected nothing in the only bucket, looks like the path of a URL.
    pub(super) fn hint(&self, named: &str) -> Option<String> {
        let [stats] = self.buckets.as_slice() else { return None };
        let (bucket, prefix) = (&stats.bucket, stats.path_prefix.trim_end_matches('/'));
        let path = if named.starts_with('/') { named.to_owned() } else { format!("/{named}") };
        let below = path.strip_prefix(prefix).filter(|below| below.starts_with('/') && !prefix.is_empty());
        let key = below.or_else(|| named.strip_prefix('/').map(|_| named))?.trim_start_matches('/');
        Some(format!(
            "keys of bucket {bucket} are what follows `{prefix}/` in a URL: did you mean `{key}`?\n"
        ))
    }

    /// Returns the bytes that the cache of a bucket may take. Returns `None` if there is no such bucket.
    pub(super) fn capacity(&self, bucket: &str) -> Option<u64> {
        self.buckets.iter().find(|stats| stats.bucket == bucket).map(|stats| stats.max_bytes)
    }
}

impl Memory {
    fn words(&self) -> String {
        format!("{} of {}", size(self.bytes), size(self.max_bytes))
    }
}

impl BucketStats {
    /// Returns a text about the cache, or `-` if there is none.
    fn cached(&self, text: String) -> String {
        if self.max_bytes == 0 { "-".to_owned() } else { text }
    }
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
BUCKET  PREFIX   OBJECTS    SIZE  HITS  FORWARDS  HIT RATIO  ERRORS
assets  /static       12  1.2 MB     2         1      66.6%       0
v       /              -       -     0         0          -       0

fill memory, all buckets: 0 B of 256 MB
socket memory, all buckets: 16.7 MB of 134.2 MB
";
        assert_eq!(stats().table(), expected);
        let wide = stats().wide_table();
        let lines: Vec<_> = wide.lines().zip(expected.lines()).take(3).collect();
        assert!(lines.iter().all(|(wide, narrow)| wide.starts_with(narrow)), "{wide}");
        assert!(lines[0].0.ends_with("  MAX SIZE  COLLAPSED  REVALIDATED  STALE  STORED"), "{wide}");
        assert!(lines[1].0.ends_with("      1 GB          0            0      0       1"), "{wide}");
    }

    #[test]
    fn a_path_in_the_place_of_a_key_gets_a_hint() {
        let of = |bucket: &str, named: &str| stats().only(bucket).unwrap().hint(named);
        for path in ["/static/css/a.css", "static/css/a.css", "/css/a.css", "//css/a.css"] {
            let hint = of("assets", path).unwrap();
            assert!(hint.contains("what follows `/static/` in a URL: did you mean `css/a.css`?"), "{hint}");
        }
        assert_eq!(of("assets", "css/a.css"), None);
        assert_eq!(of("v", "a"), None);
        assert!(of("v", "/a").unwrap().contains("what follows `/` in a URL: did you mean `a`?"));
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
