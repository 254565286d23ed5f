//! The methods of requests.

/// The methods a read-only gateway carries out on objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The object (RFC 9110 9.3.1).
    Get,
    /// Its header fields only (RFC 9110 9.3.2).
    Head,
}
