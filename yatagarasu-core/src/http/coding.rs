//! Content codings and `Accept-Encoding` (RFC 9110 8.4.1, 12.5.3).

use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    IF_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, VARY,
};

use crate::http::response_fields::Pattern;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstandard,
    /// Gzip (RFC 1952).
    Gzip,
}

impl Coding {
    /// All of them. What is smaller for clients comes first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstandard, Self::Gzip];

    /// Returns its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstandard => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// Returns the extension of files in this coding, with its dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstandard => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// Returns the coding of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.name() == name)
    }

    /// Returns its name as a field value.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// The codings that a client accepts, the best one first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Accepted([Option<Coding>; 3]);

impl Accepted {
    /// Reads the `Accept-Encoding` of a request. A client without one gets no coding: it may know none.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::parse(headers.get_all(ACCEPT_ENCODING).iter().map(HeaderValue::as_bytes))
    }

    /// Reads the values of `Accept-Encoding`. What cannot be read accepts nothing. A coding that a client likes less than
    /// `identity`, the object as it is, is not among the accepted ones.
    pub fn parse<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let (mut weights, mut others, mut identity) = ([None; 3], None, 0);
        for member in values.flat_map(|value| value.split(|&byte| byte == b',')) {
            let mut parts = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let Some(weight) = parts.next().map_or(Some(1000), weight) else { continue };
            let is = |coding: &Coding| {
                let is_old = *coding == Coding::Gzip && name.eq_ignore_ascii_case(b"x-gzip");
                is_old || name.eq_ignore_ascii_case(coding.name().as_bytes())
            };
            match Coding::ALL.iter().position(is) {
                Some(index) => weights[index] = Some(weight),
                None if name == b"*" => others = Some(weight),
                None if name.eq_ignore_ascii_case(b"identity") => identity = weight,
                None => {}
            }
        }
        let weights = weights.map(|weight| weight.or(others).unwrap_or(0));
        let mut order = [0, 1, 2];
        order.sort_by_key(|&index| std::cmp::Reverse(weights[index]));
        Self(order.map(|index| {
            Some(Coding::ALL[index]).filter(|_| weights[index] > 0 && weights[index] >= identity)
        }))
    }

    /// Returns the accepted codings.
    pub fn codings(self) -> impl Iterator<Item = Coding> {
        self.0.into_iter().flatten()
    }
}

/// Parses a weight (RFC 9110 12.4.2), such as `q=0.5`, into thousandths. Returns `None` if it is none.
pub fn weight(parameter: &[u8]) -> Option<u16> {
    let text = std::str::from_utf8(parameter).ok()?;
    let value = text.strip_prefix("q=").or_else(|| text.strip_prefix("Q="))?.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_valid = matches!(whole, "0" | "1")
        && fraction.len() <= 3
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok().filter(|_| is_valid)?;
    Some((whole.parse::<u16>().ok()? * 1000 + thousandths).min(1000))
}

/// Request fields about the bytes of an object.
const OF_BYTES: [HeaderName; 4] = [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

/// Returns `true` if a request is about the bytes of an object, which it has in no other coding.
pub fn is_about_bytes(headers: &HeaderMap) -> bool {
    OF_BYTES.iter().any(|name| headers.contains_key(name))
}

/// The types of objects that may be sent in a content coding, such as `text/*`, in lower case.
#[derive(Debug, Clone)]
pub struct CodedTypes(pub Vec<Pattern>);

impl CodedTypes {
    /// Returns whether an object with these fields may be sent in a coding: it has none yet, its type is among these, and
    /// nobody forbids it (RFC 9111 5.2.2.6).
    pub fn are_for(&self, headers: &HeaderMap) -> bool {
        let has_type = headers.get(CONTENT_TYPE).is_some_and(|value| self.have(value.as_bytes()));
        has_type && !headers.contains_key(CONTENT_ENCODING) && !forbids_change(headers)
    }

    /// Returns whether a value of `Content-Type` is among them.
    pub fn have(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        let essence = String::from_utf8_lossy(essence.trim_ascii()).to_ascii_lowercase();
        self.0.iter().any(|pattern| pattern.matches(&essence))
    }
}

fn forbids_change(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).iter();
    let directives = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    directives.map(<[u8]>::trim_ascii).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

/// Names `Accept-Encoding` in `Vary`, unless it or `*` is there.
pub fn vary_by_coding(headers: &mut HeaderMap) {
    if !varies_by_coding(headers) {
        headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Returns `true` if `Vary` names `Accept-Encoding` or `*`.
pub fn varies_by_coding(headers: &HeaderMap) -> bool {
    let values = headers.get_all(VARY).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let is = |name: &[u8]| name.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes()) || name == b"*";
    names.map(<[u8]>::trim_ascii).any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[&str], expected: &str) {
        let accepted = Accepted::parse(values.iter().map(|value| value.as_bytes()));
        let names: Vec<_> = accepted.codings().map(Coding::name).collect();
        assert_eq!(names.join(" "), expected, "{values:?}");
    }

    #[test]
    fn the_best_accepted_coding_comes_first() {
        check(&["gzip, deflate, br, zstd"], "br zstd gzip");
        check(&["gzip", "BR"], "br gzip");
        check(&["gzip;q=1.0, br;q=0.9, zstd;q=0"], "gzip br");
        check(&["x-gzip"], "gzip");
        check(&["*"], "br zstd gzip");
        check(&["*;q=0.5, gzip , br;q=0"], "gzip zstd");
        check(&["identity, *;q=0"], "");
        check(&["identity, br;q=0.5, gzip"], "gzip");
        check(&["br;q=0.5, *;q=0.7", "Identity;q=0.6"], "zstd gzip");
        check(&["identity;q=0, br;q=0.1"], "br");
        check(&["gzip;q=0.001"], "gzip");
    }

    #[test]
    fn what_cannot_be_read_accepts_nothing() {
        for values in
            [&[][..], &[""], &["gzip;q=2"], &["gzip;q=0.1234"], &["gzip;x=1"], &["gzip;q=-1"], &["\u{e9}"]]
        {
            check(values, "");
        }
        check(&["gzip;q=x, br"], "br");
    }

    #[track_caller]
    fn check_type(fields: &[(&'static str, &str)], expected: bool) {
        let types = ["text/*", "application/json", "*+xml"].map(|text| Pattern::new(text).unwrap()).to_vec();
        let types = CodedTypes(types);
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        assert_eq!(types.are_for(&headers), expected, "{fields:?}");
    }

    #[test]
    fn objects_are_compressed_by_their_type_unless_they_are_or_must_stay() {
        check_type(&[("content-type", "TEXT/HTML; charset=utf-8")], true);
        check_type(&[("content-type", "image/svg+xml")], true);
        check_type(&[("content-type", "application/json")], true);
        check_type(&[("content-type", "image/png")], false);
        check_type(&[], false);
        check_type(&[("content-type", "text/css"), ("content-encoding", "gzip")], false);
        check_type(&[("content-type", "text/css"), ("cache-control", "public, No-Transform")], false);
        check_type(&[("content-type", "text/css"), ("cache-control", "max-age=1")], true);
    }

    #[test]
    fn the_coding_is_named_once_in_vary() {
        for (given, expected) in
            [("accept-encoding", 1), ("Origin, Accept-Encoding", 1), ("*", 1), ("Origin", 2)]
        {
            let mut headers: HeaderMap = [(VARY, given.parse().unwrap())].into_iter().collect();
            vary_by_coding(&mut headers);
            assert_eq!(headers.get_all(VARY).iter().count(), expected, "{given}");
        }
    }
}
