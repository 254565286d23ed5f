//! A listing for people: one page without scripts, which also screen readers and `wget --mirror` can use.

use std::fmt::Write;
use std::time::SystemTime;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use time::OffsetDateTime;
use yatagarasu_core::ObjectKey;
use yatagarasu_core::source::list::Listed;

use crate::service::listing::Page;

/// What is escaped in a link: all but the unreserved characters of RFC 3986 2.3 and slashes.
const LINK: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--dim:#777;--link:#0a58ca}\
@media(prefers-color-scheme:dark){:root{--dim:#999;--link:#8ab4f8}}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere}\
a{color:var(--link);text-decoration:none}a:hover,a:focus-visible{text-decoration:underline}\
table{width:100%;border-collapse:collapse}\
th{text-align:left;font-size:.875rem;font-weight:600;color:var(--dim)}\
th,td{padding:.375rem .5rem;border-bottom:1px solid var(--line)}\
tbody tr:hover{background:#8881}\
td:first-child{overflow-wrap:anywhere}\
.size,.date{white-space:nowrap;text-align:right;font-variant-numeric:tabular-nums}\
td.size,td.date{color:var(--dim)}\
nav{margin-top:1rem}\
@media(max-width:36rem){.date{display:none}body{margin:1rem auto}}";

/// Returns the page.
pub(super) fn render(page: &Page<'_>) -> String {
    let path: String = page.way.iter().flat_map(|name| [*name, "/"]).collect();
    let title = text(&format!("/{path}"));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Index of {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Index of {}</h1>\n\
         <table>\n<thead>\n<tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"size\">Size</th>\
         <th scope=\"col\" class=\"date\">Changed (UTC)</th></tr>\n</thead>\n<tbody>\n",
        breadcrumbs(&page.way)
    );
    if !page.way.is_empty() {
        row(&mut html, "<a href=\"../\">../</a>", None);
    }
    for folder in &page.list.folders {
        row(&mut html, &link(folder, &folder[page.prefix.len()..]), None);
    }
    // Some tools make an object in the place of a folder.
    for object in page.list.objects.iter().filter(|object| object.key != page.prefix) {
        row(&mut html, &link(&object.key, &object.key[page.prefix.len()..]), Some(object));
    }
    html.push_str("</tbody>\n</table>\n");
    if page.list.objects.is_empty() && page.list.folders.is_empty() {
        html.push_str("<p>There is nothing here.</p>\n");
    }
    let first = if page.is_first { "" } else { "<a href=\"./\">First page</a> " };
    let next = page.list.next.as_deref().map(|token| {
        let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
        format!("<a rel=\"next\" href=\"?continuation={token}\">Next page</a>")
    });
    if !page.is_first || next.is_some() {
        let next = next.unwrap_or_default();
        writeln!(html, "<nav aria-label=\"Pages\">{first}{next}</nav>").expect("a string takes it");
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn row(html: &mut String, name: &str, object: Option<&Listed>) {
    let size =
        object.map(|object| format!("<span title=\"{} bytes\">{}</span>", object.size, size(object.size)));
    let changed = object.and_then(|object| object.modified).map(|at| {
        let date = date(at);
        format!("<time datetime=\"{date}\">{} {}</time>", &date[..10], &date[11..16])
    });
    let (size, changed) = (size.unwrap_or_default(), changed.unwrap_or_default());
    writeln!(html, "<tr><td>{name}</td><td class=\"size\">{size}</td><td class=\"date\">{changed}</td></tr>")
        .expect("a string takes it");
}

/// Returns the links to the folders that lead here.
fn breadcrumbs(way: &[&str]) -> String {
    let mut html = String::new();
    for (index, name) in std::iter::once(&"").chain(way).enumerate() {
        let name = text(&format!("{name}/"));
        let up = way.len() - index;
        if up == 0 {
            html.push_str(&name);
        } else {
            write!(html, "<a href=\"{}\">{name}</a>", "../".repeat(up)).expect("a string takes it");
        }
    }
    html
}

/// Returns a link to a name in the folder, or its name alone if the gateway does not serve the key.
fn link(key: &str, name: &str) -> String {
    let shown = text(name);
    // A name may look like the scheme of a URL, or like another host.
    let target = format!("./{}", utf8_percent_encode(name, LINK));
    match ObjectKey::parse(key) {
        Ok(_) => format!("<a href=\"{target}\">{shown}</a>"),
        Err(_) => shown,
    }
}

/// Returns a text in which nothing is HTML. Characters that cannot be seen are shown escaped.
fn text(plain: &str) -> String {
    plain.chars().fold(String::with_capacity(plain.len()), |mut html, character| {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Marks of direction would show a name in another order.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => html.extend(character.escape_unicode()),
            _ if character.is_control() => html.extend(character.escape_default()),
            _ => html.push(character),
        }
        html
    })
}

/// Returns a size with three digits at most.
fn size(bytes: u64) -> String {
    let (mut unit, mut divisor) = ("B", 1);
    for larger in ["kB", "MB", "GB", "TB", "PB", "EB"] {
        if bytes / divisor < 1000 {
            break;
        }
        (unit, divisor) = (larger, divisor * 1000);
    }
    let (whole, tenth) = (bytes / divisor, bytes % divisor * 10 / divisor);
    if divisor > 1 && whole < 10 { format!("{whole}.{tenth} {unit}") } else { format!("{whole} {unit}") }
}

/// Returns a time in the form of RFC 3339, in seconds.
pub(super) fn date(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use yatagarasu_core::source::list::ListPage;

    use super::*;

    #[test]
    fn sizes_and_dates_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_999, "9.9 kB"),
            (10_000, "10 kB"),
            (1_500_000, "1.5 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(date(at), "1994-11-06T08:49:37Z");
    }

    #[test]
    fn no_name_is_html_or_leads_elsewhere() {
        for (key, expected) in [
            ("a/<b>", "<a href=\"./%3Cb%3E\">&lt;b&gt;</a>"),
            ("a/\"'&", "<a href=\"./%22%27%26\">&quot;&#39;&amp;</a>"),
            ("a/javascript:x", "<a href=\"./javascript%3Ax\">javascript:x</a>"),
            ("a//evil/", "<a href=\".//evil/\">/evil/</a>"),
            ("a/b\n\u{202e}", "<a href=\"./b%0A%E2%80%AE\">b\\n\\u{202e}</a>"),
            ("a/..", ".."),
            ("a/?x#y%", "<a href=\"./%3Fx%23y%25\">?x#y%</a>"),
        ] {
            assert_eq!(link(key, &key[2..]), expected);
        }
    }

    #[test]
    fn the_way_leads_up() {
        assert_eq!(breadcrumbs(&[]), "/");
        assert_eq!(breadcrumbs(&["a", "b"]), "<a href=\"../../\">/</a><a href=\"../\">a/</a>b/");
    }

    #[test]
    fn a_page_has_what_is_in_the_folder() {
        let object = |key: &str| Listed { key: key.to_owned(), size: 5, modified: None, etag: None };
        let list = ListPage {
            objects: vec![object("r/a/"), object("r/a/x")],
            folders: vec!["r/a/b/".to_owned()],
            next: Some("t&\"".to_owned()),
        };
        let page = render(&Page { prefix: "r/a/", way: vec!["a"], list: &list, is_first: false });
        for part in [
            "<a href=\"./b/\">b/</a>",
            "<a href=\"./x\">x</a>",
            "<a href=\"../\">../</a>",
            "href=\"?continuation=t%26%22\"",
            "<a href=\"./\">First page</a>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("./\"></a>"), "the folder itself is not in it: {page}");
        let empty = render(&Page { prefix: "", way: vec![], list: &ListPage::default(), is_first: true });
        assert!(empty.contains("There is nothing here") && !empty.contains("../") && !empty.contains("<nav"));
    }
}
