//! Selects the header fields of an S3 response that belong to the object.

use http::HeaderMap;
use yatagarasu_core::http::fields::{HOP_BY_HOP, drop_hops};

/// Fields that belong to one request at S3.
const OF_THE_REQUEST: [&str; 2] = ["x-amz-id-2", "x-amz-request-id"];

/// Returns the end-to-end fields. Fields that `Connection` names are removed as well.
pub(crate) fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    drop_hops(&mut headers);
    for name in HOP_BY_HOP.into_iter().chain(OF_THE_REQUEST) {
        headers.remove(name);
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops_and_the_sources_own_fields_go() {
        let headers = [
            ("connection", "X-Hop , close"),
            ("x-hop", "1"),
            ("x-amz-request-id", "1"),
            ("x-amz-id-2", "1"),
            ("transfer-encoding", "chunked"),
            ("x-amz-version-id", "v"),
            ("etag", "\"e\""),
        ];
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let mut left: Vec<_> = end_to_end(headers).keys().map(ToString::to_string).collect();
        left.sort();
        assert_eq!(left, ["etag", "x-amz-version-id"]);
    }
}
