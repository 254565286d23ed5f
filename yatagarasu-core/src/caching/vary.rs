//! Parses `Vary` and computes the key of a variant from the request fields (RFC 9111 4.1).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::caching::policy::ForwardedFields;
use crate::http::fields::{is_cors, may_forward};

/// Content negotiation fields. Their values are case-insensitive lists of preferences (RFC 9110 12.5).
const NEGOTIATED: [HeaderName; 4] =
    [header::ACCEPT, header::ACCEPT_CHARSET, header::ACCEPT_ENCODING, header::ACCEPT_LANGUAGE];

/// The `Vary` field of a response (RFC 9110 12.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Vary {
    /// No field: the response matches every request.
    #[default]
    None,
    /// `*`: the response matches no other request.
    Any,
    /// The response matches requests that agree in these fields. Names are lower-case, sorted and unique.
    Fields(Vec<HeaderName>),
}

impl Vary {
    /// Parses all `Vary` fields of a response.
    ///
    /// A malformed field name counts as `*`, so that the response matches no other request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut names = Vec::new();
        let fields = headers.get_all(header::VARY).iter();
        let members = fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b','));
        for member in members.map(<[u8]>::trim_ascii).filter(|member| !member.is_empty()) {
            // `*` is a valid token, so `HeaderName` accepts it as a name.
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

/// Returns the secondary key of a request with the fields `asked`, for an object that varies by `names`.
///
/// Two requests select the same variant if their keys are equal. The key has one line for each name: `name:value`, or
/// `name` if the request has no such field. Each byte of a value becomes one character.
///
/// Values are normalised as far as RFC 9111 4.1 allows. Several fields become one list, and spaces around its commas
/// are dropped. In content negotiation fields, case, empty members and spaces around `;` and `=` are dropped too.
/// So are the order and repetitions of members, except in `Accept-Language`. Quoted strings are not changed.
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
    // The order of languages may matter: some servers prefer the first of equal rank (RFC 9110 12.5.4).
    if *name != header::ACCEPT_LANGUAGE {
        members.sort_unstable();
        members.dedup();
    }
    members.join(&b',')
}

/// Returns `true` if every quoted string is closed.
///
/// Members must not be reordered otherwise: an unclosed quote would then cover other members.
fn closes(list: &[u8]) -> bool {
    let mut quotes = Quotes::default();
    for &byte in list {
        quotes.take(byte);
    }
    !quotes.open
}

/// Splits a list at the commas outside quoted strings (RFC 9110 5.6.1). Keeps empty members.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quotes = Quotes::default();
    list.split(move |&byte| !quotes.take(byte) && byte == b',').map(<[u8]>::trim_ascii)
}

/// Returns the member in lower case without spaces around `;` and `=`. Keeps quoted strings unchanged.
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

/// Tracks quoted strings while a field is read byte by byte (RFC 9110 5.6.4).
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Takes the next byte. Returns `true` if it belongs to a quoted string, the quotes included.
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
