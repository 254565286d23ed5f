/// Why a running server did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// The address is none.
    #[error("--admin: expected `http://HOST:PORT` or `https://HOST:PORT`, found `{0}`")]
    Address(String),
    /// The token cannot be sent.
    #[error("--token: expected a token of printable ASCII characters")]
    Token,
    /// Nothing answers.
    #[error("cannot reach the admin API at {url}: {reason}: is the server running, and is --admin right?")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What went wrong on the way.
        reason: String,
    },
    /// Something else answers.
    #[error("what answers at {url} is not the admin API: {reason}: is --admin right?")]
    Strange {
        /// Where it was looked for.
        url: String,
        /// What is strange about it.
        reason: String,
    },
    /// The token is missing, or not the right one.
    #[error(
        "the admin API at {url} {complaint}: give the server's `admin.token` with --token or \
         YATAGARASU_ADMIN_TOKEN"
    )]
    Unauthorized {
        /// Where it was asked.
        url: String,
        /// What it does not like.
        complaint: &'static str,
    },
    /// The server says why not.
    #[error("{0}")]
    Refused(String),
    /// The server has no such bucket.
    #[error("there is no bucket `{bucket}`; there are: {known}")]
    NoSuchBucket {
        /// What was asked for.
        bucket: String,
        /// What there is.
        known: String,
    },
}
