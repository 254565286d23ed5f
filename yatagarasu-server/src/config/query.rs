//! Decides which query parameters of a request are forwarded to the source.

/// Query parameters that are forwarded to a source and are part of the cache key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedQuery {
    /// The parameters with these names.
    Named(Vec<String>),
    /// All parameters, except those that are never forwarded and those that change the response of S3.
    All,
}

impl ForwardedQuery {
    /// Returns `true` if the parameter is forwarded. `name` is percent-decoded.
    pub fn forwards(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|named| named == name),
            Self::All => may_forward(name) && !rewrites(name),
        }
    }
}

/// Parameters that select an S3 sub-resource or carry a signature, in lowercase. A client must not choose them.
const NEVER: [&str; 35] = [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "awsaccesskeyid",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "policy",
    "policystatus",
    "publicaccessblock",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "signature",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// Returns `true` if a bucket may list this parameter for forwarding. `name` is percent-decoded.
///
/// The comparison ignores case, because servers differ in whether case matters.
pub(super) fn may_forward(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.is_empty() && !name.starts_with("x-amz-") && !NEVER.contains(&name.as_str())
}

/// Returns `true` if this parameter makes S3 return other header fields, or a part, or if it says nothing: SDKs send
/// `x-id=GetObject`.
///
/// Such a parameter is forwarded only if it is listed by name. Otherwise the author of a link could serve a page of
/// their own from this domain.
fn rewrites(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("response-") || matches!(name.as_str(), "partnumber" | "x-id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_resources_and_signatures_never_cross() {
        for name in [
            "acl",
            "ACL",
            "uploadId",
            "policyStatus",
            "X-Amz-Signature",
            "AWSAccessKeyId",
            "",
            "response-content-type",
            "x-id",
        ] {
            assert!(!ForwardedQuery::All.forwards(name), "{name}");
        }
        for name in ["versionId", "aclx"] {
            assert!(ForwardedQuery::All.forwards(name), "{name}");
        }
    }

    #[test]
    fn names_are_taken_as_they_are() {
        let named = ForwardedQuery::Named(vec!["response-content-type".to_owned()]);
        assert!(named.forwards("response-content-type"));
        let named = ForwardedQuery::Named(vec!["v".to_owned()]);
        assert!(named.forwards("v") && !named.forwards("V") && !named.forwards("w"));
    }
}
