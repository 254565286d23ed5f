//! Valid keys with characters that are easy to mishandle.

use yatagarasu_core::object::key::ObjectKey;

/// Hand-picked keys that encoders, decoders and signers often get wrong.
const AWKWARD: &[&str] = &[
    "a b",
    "a+b",
    "a%20b",
    "a%2Bb",
    "100%",
    "%",
    "%%",
    "a(b)",
    "it's",
    "!*'()",
    "a//b",
    "//",
    "/lead",
    "trail/",
    ".hidden",
    "..two",
    "a/.b/..c",
    "...",
    "a=b&c=d",
    "a;b,c",
    "q?x=1",
    "h#x",
    "a\\b",
    "\"quoted\"",
    "<a>",
    "[1]",
    "{x}",
    "a|b",
    "a^b",
    "a`b",
    "a~b",
    "a@b",
    "a:b",
    "a$b",
    "\u{e9}",
    "e\u{301}",
    "\u{65e5}\u{672c}",
    "\u{1f98a}/\u{1f426}",
    "\u{202e}x",
    "\u{feff}bom",
    " ",
    " a ",
    "a\tb",
    "a\nb",
    "\u{7f}",
    "A",
    "a",
    "_",
    "-",
    "index.html",
    "?acl",
    "a?uploads",
    "%2e%2e/x",
    "%2F",
    "con",
    "x.metadata",
];

/// Returns 200 valid keys that are easy to mishandle.
///
/// They have reserved characters, percent signs, Unicode, slashes or the maximum length.
pub fn odd_keys() -> Vec<String> {
    let mut keys: Vec<String> = AWKWARD.iter().map(|&key| key.to_owned()).collect();
    keys.push("k".repeat(1024));
    keys.push("\u{e9}".repeat(512));
    keys.push("d/".repeat(511) + "x");
    let awkward: Vec<char> = " +%/?#&='\"()[]~\u{fc}\u{65e5}\u{1f98a}aB0.-_".chars().collect();
    let mut seed = 1u64;
    while keys.len() < 200 {
        let key: String = (0..12)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                awkward[usize::try_from(seed >> 33).expect("31 bits") % awkward.len()]
            })
            .collect();
        if ObjectKey::parse(&key).is_ok() && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}
