//! Errors of the `cache` commands.

/// An error of a request to the admin API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The value of `--admin` is no place of a server.
    #[error("--admin: expected `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`, found {0}")]
    Address(String),
    /// The token cannot be sent in a header field.
    #[error("--token: expected a token of printable ASCII characters")]
    Token,
    /// No complete response came in time.
    #[error("the admin API at {url} did not answer within {seconds} s; it may still do what was asked")]
    Slow {
        /// The URL of the admin API.
        url: String,
        /// The time limit.
        seconds: u64,
    },
    /// The response is a success, but none that this command knows.
    #[error(
        "the answer of {url} cannot be read: {reason}: is --admin right, and are command and server of one version?"
    )]
    Unreadable {
        /// The URL of the admin API.
        url: String,
        /// The error of the JSON parser.
        reason: String,
    },
    /// The server cannot be reached.
    #[error("cannot reach the admin API at {url}: {reason}: is the server running, and is --admin right?")]
    Unreachable {
        /// The URL of the admin API.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// The response is not one of the admin API.
    #[error("what answers at {url} is not the admin API: {reason}: is --admin right?")]
    Strange {
        /// The URL of the admin API.
        url: String,
        /// The reason: a status.
        reason: String,
    },
    /// The server does not take this operator's requests.
    #[error("the admin API at {url} refused the request: {detail}")]
    Unauthorized {
        /// The URL of the admin API.
        url: String,
        /// The reason that the server gave.
        detail: String,
    },
    /// The URL is that of a gateway's public listener.
    #[error(
        "what answers at {url} is the gateway's public address: give the one of `admin.address` with --admin"
    )]
    Public {
        /// The URL that was meant to be the admin API's.
        url: String,
    },
    /// The server is not in the state that was asked for.
    #[error("the server at {url} is not {expected}: {said}")]
    Unwell {
        /// The URL of the admin API.
        url: String,
        /// The state: `alive` or `ready`.
        expected: &'static str,
        /// What it said.
        said: String,
    },
    /// Nothing is stored for a key.
    #[error("`{key}` is not stored in bucket {bucket}{hint}")]
    NotStored {
        /// The key.
        key: String,
        /// The bucket.
        bucket: String,
        /// A line with a similar key. Empty if there is none.
        hint: String,
    },
    /// A sitemap cannot be read.
    #[error("--sitemap: {url} cannot be read: {reason}")]
    Sitemap {
        /// The URL of the sitemap.
        url: String,
        /// The cause.
        reason: String,
    },
    /// Standard output cannot be written.
    #[error("{0}")]
    Output(String),
    /// Some of several objects failed.
    #[error("{0}")]
    Incomplete(String),
    /// A file of the command line cannot be read or written.
    #[error("{option} {file}: {reason}")]
    File {
        /// The option that names it.
        option: &'static str,
        /// The file.
        file: String,
        /// The cause.
        reason: String,
    },
    /// The server rejected the request and gave this reason.
    #[error("{0}")]
    Refused(String),
    /// The server has no bucket with this name.
    #[error("there is no bucket `{bucket}`; there are: {known}")]
    NoSuchBucket {
        /// The name given by `--bucket`.
        bucket: String,
        /// The existing names, separated by commas.
        known: String,
    },
}

impl AdminError {
    /// Returns `true` if the command line is wrong, so that nothing was asked.
    pub(crate) fn is_of_usage(&self) -> bool {
        match self {
            Self::Address(_) | Self::Token | Self::File { .. } => true,
            Self::Unreachable { .. }
            | Self::Slow { .. }
            | Self::Unreadable { .. }
            | Self::Strange { .. }
            | Self::Unauthorized { .. }
            | Self::Public { .. }
            | Self::Unwell { .. }
            | Self::NotStored { .. }
            | Self::Sitemap { .. }
            | Self::Output(_)
            | Self::Incomplete(_)
            | Self::Refused(_)
            | Self::NoSuchBucket { .. } => false,
        }
    }
}
