//! Which request fields select between the stored variants of an object (RFC 9111 4.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::caching::policy::ForwardedFields;
use crate::http::fields::{is_cors, may_forward};

/// Lists of preferences, in which case does not matter (RFC 9110 12.5).
const NEGOTIATED: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_CHARSET, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];

/// What a response's `Vary` says (RFC 9110 12.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Vary {
    /// The response suits every request.
    #[default]
    None,
    /// No other request is sure to get the same response.
    Any,
    /// It suits requests that agree in these fields: lower-case, sorted, each once.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Reads all `Vary` fields of a response.
    ///
    /// A member that is no field name counts as `*`, so that a doubt matches no request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        let fields = headers.get_all(header::VARY).iter();
        let members = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
        for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
            // As a token `*` would be read as a name.
            match HeaderName::from_bytes(member) {
                Ok(name) if member != b"*" => names.push(name),
                Ok(_) | Err(_) => return Self::Any,
            }
        }
        names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        names.dedup();
        if names.is_empty() { Self::None } else { Self::Fields(names) }
    }
}

/// Writes what of the request `asked` selects between variants that differ by `names`.
///
/// Two requests match where the texts are the same. There is a line for every name: `name:value`, or `name`
/// where the request has no such field. Values are normalised as far as RFC 9111 4.1 allows: several fields
/// are one list, the spaces around its commas are dropped; in the negotiation fields also case, spaces around
/// `;` and `=`, empty members, and, but for languages, order and repeated members. Nothing in a quoted string is
/// changed. Bytes become one character each.
pub fn secondary(names: &[HeaderName], asked: &HeaderMap) -> String {
    let mut text = String::new();
    for name in names {
        text.push_str(name.as_str());
        if asked.contains_key(name) {
            text.push(':');
            text.extend(normalised(name, asked).into_iter().map(char::from));
        }
        text.push('\n');
    }
    text
}

fn normalised(name: &HeaderName, asked: &HeaderMap) -> Vec<u8> {
    let fields: Vec<&[u8]> = asked.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let list = fields.join(&b',');
    if !NEGOTIATED.contains(name) || !closes(&list) {
        let members: Vec<&[u8]> = members(&list).collect();
        return members.join(&b',');
    }
    let mut members: Vec<Vec<u8>> =
        members(&list).filter(|member| !member.is_empty()).map(tightened).collect();
    // Some take the first of several languages as the best (RFC 9110 12.5.4).
    if *name != header::ACCEPT_LANGUAGE {
        members.sort_unstable();
        members.dedup();
    }
    members.join(&b',')
}

/// Whether every quoted string ends; where one does not, its members cannot be told apart once they move.
fn closes(list: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    for &byte in list {
        quotes.take(byte);
    }
    !quotes.open
}

/// Splits a list at the commas outside quoted strings (RFC 9110 5.6.1).
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    list.split(move |&byte| !quotes.take(byte) && byte == b',').map(<[u8]>::trim_ascii)
}

/// Drops case and the spaces around `;` and `=`.
fn tightened(member: &[u8]) -> Vec<u8> {
    let mut quotes = Quotes::default();
    let mut text = Vec::with_capacity(member.len());
    for &byte in member {
        let quoted = quotes.take(byte);
        match byte {
            _ if quoted => text.push(byte),
            b' ' | b'\t' if matches!(text.last(), Some(b';' | b'=')) => {}
            b';' | b'=' => {
                let kept = text.trim_ascii_end().len();
                text.truncate(kept);
                text.push(byte);
            }
            _ => text.push(byte.to_ascii_lowercase()),
        }
    }
    text
}

/// Follows the quoted strings in a field (RFC 9110 5.6.4).
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Takes the next byte and says whether it belongs to a quoted string, its marks included.
    fn take(&mut self, byte: u8) -> bool {
        let inside = self.open;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.open => self.escaped = true,
            b'"' => self.open = !self.open,
            _ => {}
        }
        inside || self.open
    }
}

/// Returns the `Vary` members in `names` that can select a variant. Fields that are part of every key are left
/// out. So are fields that never reach the source, since they cannot change its answer (RFC 9111 4.1).
pub fn selecting(names: Vec<HeaderName>, forwarded: &ForwardedFields) -> Vec<HeaderName> {
    let reaches = |name: &HeaderName| match forwarded {
        ForwardedFields::Named(named) => named.contains(name),
        ForwardedFields::All => may_forward(name),
    };
    names.into_iter().filter(|name| !is_cors(name) && reaches(name)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[track_caller]
    fn check_vary(fields: &[&str], expected: &Vary) {
        assert_eq!(&Vary::of(&map(&header::VARY, fields)), expected, "{fields:?}");
    }

    #[track_caller]
    fn check(name: &'static str, values: &[&str], expected: &str) {
        let name = HeaderName::from_static(name);
        let text = secondary(std::slice::from_ref(&name), &map(&name, values));
        assert_eq!(text, format!("{name}{expected}\n"), "{values:?}");
    }

    #[test]
    fn names_are_lower_case_sorted_and_unique() {
        let fields = |names: &[&'static str]| {
            Vary::Fields(names.iter().map(|&name| HeaderName::from_static(name)).collect())
        };
        check_vary(&["Origin"], &fields(&["origin"]));
        check_vary(&["User-Agent,accept ,, ACCEPT"], &fields(&["accept", "user-agent"]));
        check_vary(&["x-b, X-A", "", "x-B"], &fields(&["x-a", "x-b"]));
    }

    #[test]
    fn nothing_named_is_none() {
        check_vary(&[], &Vary::None);
        check_vary(&[""], &Vary::None);
        check_vary(&[" , ,"], &Vary::None);
    }

    #[test]
    fn a_star_or_a_doubt_is_any() {
        for fields in [
            &["*"][..],
            &["accept, *"],
            &["accept", " * "],
            &["accept encoding"],
            &["\"accept\""],
            &["accept;q=1"],
            &["accept", "ä"],
        ] {
            check_vary(fields, &Vary::Any);
        }
    }

    #[test]
    fn an_absent_field_is_no_empty_one() {
        check("accept-encoding", &[], "");
        check("accept-encoding", &[""], ":");
        check("accept-encoding", &[","], ":");
        check("x-device", &[], "");
        check("x-device", &[""], ":");
    }

    #[test]
    fn several_fields_are_one_list() {
        check("x-device", &["a", "b"], ":a,b");
        check("x-device", &["a ,\tb"], ":a,b");
        check("accept-encoding", &["gzip", "br"], ":br,gzip");
    }

    #[test]
    fn other_fields_keep_case_order_and_inner_spaces() {
        check("x-device", &["B ; q = 1, a"], ":B ; q = 1,a");
        check("x-device", &["a,,a"], ":a,,a");
        check("user-agent", &["Moz/5.0 (X11; Linux, like  Gecko)"], ":Moz/5.0 (X11; Linux,like  Gecko)");
    }

    #[test]
    fn negotiation_fields_have_one_form() {
        check("accept-encoding", &["GZIP;Q=0.5, br"], ":br,gzip;q=0.5");
        check("accept-encoding", &["br,gzip ; q = 0.5,, br"], ":br,gzip;q=0.5");
        check("accept-language", &["de-DE, en;\tq=0.7"], ":de-de,en;q=0.7");
        check("accept-charset", &["UTF-8"], ":utf-8");
        check("accept", &["text/HTML;level = 1,*/*"], ":*/*,text/html;level=1");
    }

    #[test]
    fn quoted_strings_are_left_alone() {
        check("x-device", &[r#"b="1 , 2" , a"#], r#":b="1 , 2",a"#);
        check("x-device", &[r#""a\" , b" , c"#], r#":"a\" , b",c"#);
        check("accept", &[r#"B/b; x = "C ; D , \"E = F", A/a"#], r#":a/a,b/b;x="C ; D , \"E = F""#);
        check("x-device", &["\"a ", " b\""], ":\"a , b\"");
        check("accept", &["B , \"a"], ":B,\"a");
    }

    #[test]
    fn bytes_are_one_character_each() {
        let name = HeaderName::from_static("x-device");
        let mut headers = HeaderMap::new();
        headers.insert(name.clone(), HeaderValue::from_bytes(b"\xe4\xff").unwrap());
        assert_eq!(secondary(&[name], &headers), "x-device:\u{e4}\u{ff}\n");
    }

    #[test]
    fn every_name_has_its_line() {
        let headers = map(&header::ORIGIN, &["https://a.example"]);
        let names = [header::ACCEPT, header::ORIGIN];
        assert_eq!(secondary(&names, &headers), "accept\norigin:https://a.example\n");
        assert_eq!(secondary(&[], &headers), "");
    }

    proptest! {
        #[test]
        fn spaces_case_and_order_do_not_matter(
            mut members in proptest::collection::vec("[A-Za-z]{1,4}(;q=0\\.[0-9])?", 1..6),
            space in "[ \t]{0,2}",
        ) {
            let text = |members: &[String], between: &str| {
                let headers = map(&header::ACCEPT, &[&members.join(between)]);
                secondary(&[header::ACCEPT], &headers)
            };
            let expected = text(&members, ",");
            members.reverse();
            for member in &mut members {
                *member = member.to_uppercase().replace(';', &format!("{space};{space}"));
            }
            prop_assert_eq!(text(&members, &format!("{space},{space}")), expected);
        }

        #[test]
        fn a_normalised_value_stays_as_it_is(value in "[aB\";=,\\\\ ]{0,20}") {
            for name in [header::ACCEPT, header::USER_AGENT] {
                let once = normalised(&name, &map(&name, &[&value]));
                let again = map(&name, &[std::str::from_utf8(&once).unwrap()]);
                prop_assert_eq!(normalised(&name, &again), once);
            }
        }

        #[test]
        fn any_bytes_are_taken_without_panic(value in proptest::collection::vec(32u8..=255, 0..40)) {
            prop_assume!(!value.contains(&127));
            let mut headers = HeaderMap::new();
            for name in [header::VARY, header::ACCEPT, header::USER_AGENT] {
                headers.insert(name, HeaderValue::from_bytes(&value).unwrap());
            }
            let _ = Vary::of(&headers);
            let text = secondary(&[header::ACCEPT, header::USER_AGENT], &headers);
            prop_assert_eq!(text.matches('\n').count(), 2);
        }
    }

    #[test]
    fn what_never_reaches_the_source_selects_nothing() {
        let names = || ["accept", "cookie", "origin", "x-a"].map(HeaderName::from_static).to_vec();
        let named = ForwardedFields::Named(vec![header::ACCEPT]);
        assert_eq!(selecting(names(), &named), ["accept"]);
        assert_eq!(selecting(names(), &ForwardedFields::All), ["accept", "x-a"]);
        assert!(selecting(names(), &ForwardedFields::default()).is_empty());
    }
}
