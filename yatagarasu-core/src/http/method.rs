//! The methods of requests.

/// The methods that a read-only gateway supports on objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET` returns the object (RFC 9110 9.3.1).
    Get,
    /// `HEAD` returns the header fields only (RFC 9110 9.3.2).
    Head,
}
