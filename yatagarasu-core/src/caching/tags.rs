//! Tags of an object, for purging several objects by one tag.

use crate::http::encoded_word;
use crate::object::meta::ObjectMeta;

/// The fields with tags, and the separators in each.
///
/// S3 stores user metadata (`x-amz-meta-*`) with an object, but not the other two fields.
const FIELDS: [(&str, &[u8]); 3] =
    [("surrogate-key", b" \t"), ("cache-tag", b","), ("x-amz-meta-cache-tag", b", \t")];

/// Returns `true` if an object with these fields has the tag `tag`.
///
/// The comparison is case-sensitive. A tag in `Cache-Tag` may contain spaces; spaces around it are dropped.
pub fn carries(meta: &ObjectMeta, tag: &str) -> bool {
    FIELDS.iter().any(|&(name, separators)| {
        meta.values(name).any(|value| {
            let text = encoded_word::decode(value);
            let mut members = text.split(|byte| separators.contains(byte)).map(<[u8]>::trim_ascii);
            members.any(|member| !member.is_empty() && member == tag.as_bytes())
        })
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[track_caller]
    fn check(fields: &[(&'static str, &str)], tags: &[&str], others: &[&str]) {
        let mut headers = HeaderMap::new();
        for &(name, value) in fields {
            headers.append(name, value.parse().unwrap());
        }
        let headers = ObjectMeta::new(headers);
        for tag in tags {
            assert!(carries(&headers, tag), "{tag:?} in {fields:?}");
        }
        for tag in others {
            assert!(!carries(&headers, tag), "no {tag:?} in {fields:?}");
        }
    }

    #[test]
    fn surrogate_keys_are_separated_by_spaces() {
        check(&[("surrogate-key", "a  b/c d,e")], &["a", "b/c", "d,e"], &["", " ", "b", "d", "A", "a  b/c"]);
        check(&[("surrogate-key", "a"), ("surrogate-key", "b")], &["a", "b"], &["a b", "a,b"]);
    }

    #[test]
    fn cache_tags_are_separated_by_commas() {
        check(&[("cache-tag", "a, b c ,,d")], &["a", "b c", "d"], &["", "b", " b c ", "c", "D"]);
    }

    #[test]
    fn metadata_tags_are_separated_by_both() {
        check(&[("x-amz-meta-cache-tag", "a, b\tc  d")], &["a", "b", "c", "d"], &["", "c  d", "B"]);
    }

    #[test]
    fn tags_that_s3_has_encoded_are_the_text_that_was_written() {
        check(
            &[("x-amz-meta-cache-tag", "=?UTF-8?Q?caf=C3=A9,_m=C3=BCsli?=")],
            &["caf\u{e9}", "m\u{fc}sli"],
            &[],
        );
        check(&[("x-amz-meta-cache-tag", "=?UTF-8?B?w6Qgw7Y=?=")], &["\u{e4}", "\u{f6}"], &[]);
    }

    #[test]
    fn all_fields_count_and_no_others() {
        check(
            &[("surrogate-key", "a"), ("cache-tag", "b"), ("x-amz-meta-cache-tag", "c")],
            &["a", "b", "c"],
            &[],
        );
        check(&[("x-tag", "a"), ("cache-tags", "b")], &[], &["a", "b", ""]);
        check(&[("surrogate-key", ""), ("cache-tag", "ä")], &["ä"], &["", "a"]);
    }
}
