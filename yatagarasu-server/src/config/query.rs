/// Query parameters that are passed on to a source, and are part of what an object is stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardedQuery {
    /// Those with these names.
    Named(Vec<String>),
    /// All but those that never cross.
    All,
}

impl ForwardedQuery {
    /// Whether the parameter with this name, decoded, is passed on.
    pub fn forwards(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|named| named == name),
            Self::All => may_forward(name) && !rewrites(name),
        }
    }
}

/// Parameters that select an S3 sub-resource or carry a signature: none of them may be a client's to choose.
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

/// Whether a bucket may ask for the parameter with this name, decoded, to be passed on. Servers differ in whether
/// case matters to them: here it does not.
pub(super) fn may_forward(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.is_empty() && !name.starts_with("x-amz-") && !NEVER.contains(&name.as_str())
}

/// Whether S3 answers with other fields, or with a part, where this parameter is sent. Whoever makes a link could have
/// a page of his own served from this domain: such a parameter has to be named to be passed on.
fn rewrites(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("response-") || name == "partnumber"
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
        ] {
            assert!(!ForwardedQuery::All.forwards(name), "{name}");
        }
        for name in ["versionId", "x-id", "aclx"] {
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
