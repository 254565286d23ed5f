//! What follows from an error of a source: whose fault it is, and what is done about it.

use http::StatusCode;

use crate::source::error::ErrorKind;

/// The party that is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The client: its request cannot be answered.
    Client,
    /// The object is missing, or a policy keeps it back.
    Object,
    /// The gateway: its credentials, its clock or its configuration.
    Gateway,
    /// The source, or the way to it.
    Source,
}

/// What becomes of the object that is stored under the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredEffect {
    /// It is dropped: it is gone, or may not be shown any more.
    Dropped,
    /// It is stale from now on, so that the next request asks the source again.
    Stale,
    /// It stays as it is.
    Kept,
}

/// Whether the source is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After a short pause.
    Soon,
    /// After a longer pause: the source asks for fewer requests.
    Later,
    /// Never: the source has answered deliberately, or asking again would change nothing.
    Never,
}

/// Whether an error may be answered from a negative entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// Like a 404, if the bucket remembers these.
    AsMissing,
    /// Like a 403, if the bucket remembers these.
    AsDenied,
    /// Never.
    Never,
}

/// Whether a stale object may be served instead of the error (RFC 5861 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StaleInstead {
    /// Within `stale-if-error`.
    Allowed,
    /// The error is the answer.
    Forbidden,
}

/// What follows from an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequences {
    /// Whose fault it is. A fault of the gateway or the source is logged as a warning.
    pub fault: Fault,
    /// The status of the client's response.
    pub status: StatusCode,
    /// Whether a stale object may be served instead.
    pub stale: StaleInstead,
    /// Whether the source is asked again before anybody learns of the error.
    pub retry: Retry,
    /// Whether later requests get the same answer without the source.
    pub remembered: Remembered,
    /// What becomes of the stored object.
    pub stored: StoredEffect,
}

/// Returns what follows from an error. `docs/src/semantics.md` shows the same table.
pub fn consequences(kind: ErrorKind) -> Consequences {
    let none = |fault, status| Consequences {
        fault,
        status,
        stale: StaleInstead::Forbidden,
        retry: Retry::Never,
        remembered: Remembered::Never,
        stored: StoredEffect::Kept,
    };
    let transient = |fault, status| Consequences { stale: StaleInstead::Allowed, ..none(fault, status) };
    match kind {
        ErrorKind::NotFound => Consequences {
            remembered: Remembered::AsMissing,
            stored: StoredEffect::Dropped,
            ..none(Fault::Object, StatusCode::NOT_FOUND)
        },
        ErrorKind::NoSuchBucket => none(Fault::Gateway, StatusCode::NOT_FOUND),
        ErrorKind::Denied => Consequences {
            remembered: Remembered::AsDenied,
            stored: StoredEffect::Dropped,
            ..none(Fault::Object, StatusCode::FORBIDDEN)
        },
        ErrorKind::Archived => Consequences {
            remembered: Remembered::AsDenied,
            stored: StoredEffect::Stale,
            ..none(Fault::Object, StatusCode::FORBIDDEN)
        },
        ErrorKind::Unexplained(status) => Consequences {
            remembered: match status {
                StatusCode::FORBIDDEN => Remembered::AsDenied,
                StatusCode::NOT_FOUND => Remembered::AsMissing,
                _ => Remembered::Never,
            },
            stored: StoredEffect::Stale,
            ..none(Fault::Object, status)
        },
        ErrorKind::Invalid(status) => none(Fault::Client, status),
        ErrorKind::PreconditionFailed => none(Fault::Client, StatusCode::PRECONDITION_FAILED),
        ErrorKind::RangeNotSatisfiable { .. } => none(Fault::Client, StatusCode::RANGE_NOT_SATISFIABLE),
        ErrorKind::NoCredentials | ErrorKind::Unauthenticated | ErrorKind::Misconfigured => {
            transient(Fault::Gateway, StatusCode::BAD_GATEWAY)
        }
        ErrorKind::Throttled { .. } => {
            Consequences { retry: Retry::Later, ..transient(Fault::Source, StatusCode::SERVICE_UNAVAILABLE) }
        }
        ErrorKind::Down => transient(Fault::Source, StatusCode::SERVICE_UNAVAILABLE),
        ErrorKind::Saturated => transient(Fault::Gateway, StatusCode::SERVICE_UNAVAILABLE),
        ErrorKind::TimedOut(_) => {
            Consequences { retry: Retry::Soon, ..transient(Fault::Source, StatusCode::GATEWAY_TIMEOUT) }
        }
        ErrorKind::Unavailable | ErrorKind::Broken => {
            Consequences { retry: Retry::Soon, ..transient(Fault::Source, StatusCode::BAD_GATEWAY) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;

    const KINDS: [ErrorKind; 17] = [
        ErrorKind::NotFound,
        ErrorKind::Denied,
        ErrorKind::Archived,
        ErrorKind::Unexplained(StatusCode::FORBIDDEN),
        ErrorKind::Invalid(StatusCode::BAD_REQUEST),
        ErrorKind::PreconditionFailed,
        ErrorKind::RangeNotSatisfiable { complete_length: None },
        ErrorKind::NoCredentials,
        ErrorKind::Unauthenticated,
        ErrorKind::Misconfigured,
        ErrorKind::NoSuchBucket,
        ErrorKind::Throttled { retry_after: None },
        ErrorKind::Saturated,
        ErrorKind::TimedOut(Duration::ZERO),
        ErrorKind::Down,
        ErrorKind::Unavailable,
        ErrorKind::Broken,
    ];

    #[test]
    fn the_documentation_shows_the_table() {
        let page = include_str!("../../../docs/src/semantics.md");
        let table = page.split("| meaning | whose fault |").nth(1).expect("the table");
        let mut rows: HashMap<&str, Vec<&str>> = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
            .map(|cells| (cells[0].trim_matches('`'), cells))
            .collect();
        for kind in KINDS {
            let name = format!("{kind:?}");
            let name = name.split(['(', ' ']).next().unwrap();
            let row = rows.remove(name).unwrap_or_else(|| panic!("{name} is missing"));
            let Consequences { fault, status, stale, retry, remembered, stored } = consequences(kind);
            let fault = match fault {
                Fault::Client => "the client",
                Fault::Object => "the object",
                Fault::Gateway => "the gateway",
                Fault::Source => "the source",
            };
            assert_eq!(row[1], fault, "{name}");
            assert!(row[2].starts_with(status.as_str()) || row[2] == "S3's", "{name}");
            assert_eq!(row[3] == "yes", stale == StaleInstead::Allowed, "{name}");
            let retry = match retry {
                Retry::Soon => "soon",
                Retry::Later => "later",
                Retry::Never => "no",
            };
            assert_eq!(row[4], retry, "{name}");
            let remembered = match remembered {
                Remembered::AsMissing => "404",
                Remembered::AsDenied => "403",
                Remembered::Never => "no",
            };
            assert!(row[5] == remembered || row[5] == "S3's", "{name}");
            let stored = match stored {
                StoredEffect::Dropped => "dropped",
                StoredEffect::Stale => "stale",
                StoredEffect::Kept => "kept",
            };
            assert!(row[6].starts_with(stored), "{name}");
        }
        assert!(rows.is_empty(), "{rows:?}");
    }

    #[test]
    fn what_is_unexplained_has_the_sources_status() {
        for (status, remembered) in [
            (StatusCode::FORBIDDEN, Remembered::AsDenied),
            (StatusCode::NOT_FOUND, Remembered::AsMissing),
            (StatusCode::BAD_REQUEST, Remembered::Never),
        ] {
            let found = consequences(ErrorKind::Unexplained(status));
            assert_eq!((found.status, found.remembered), (status, remembered));
        }
    }
}
