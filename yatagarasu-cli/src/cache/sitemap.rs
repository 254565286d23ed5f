//! Reads sitemaps (<https://www.sitemaps.org/protocol.html>): the URLs of a website's pages.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::LOCATION;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use tokio::time::timeout;
use yatagarasu_core::innermost;

use super::connector::connector;

/// Timeout for one sitemap.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum length of a sitemap, as the protocol has it.
const BYTES_MAX: usize = 50 << 20;

/// Maximum number of sitemaps, as the protocol has it for one that names others.
const SITEMAPS_MAX: usize = 50_000;

/// The first bytes of a file in the format of gzip.
const GZIP: [u8; 2] = [0x1F, 0x8B];

/// Maximum number of redirects that are followed.
const REDIRECTS_MAX: usize = 5;

/// What a sitemap names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sitemap {
    pages: Vec<String>,
    sitemaps: Vec<String>,
}

/// The result of reading a sitemap with all sitemaps that it names.
#[derive(Debug, Default)]
pub(super) struct Sitemaps {
    /// The URLs of the pages.
    pub(super) pages: Vec<String>,
    /// The URL of each named sitemap that cannot be read, with the reason.
    pub(super) unread: Vec<(String, String)>,
}

/// Returns the URLs of the pages that the sitemap at `url` names, and of those in the sitemaps that it names.
///
/// # Errors
///
/// Returns the URL of a sitemap and the reason if the first one cannot be read, or if one names too many others.
pub(super) async fn pages(url: &str) -> Result<Sitemaps, (String, String)> {
    let mut found = Sitemaps::default();
    let (mut sitemaps, mut next) = (vec![url.to_owned()], 0);
    while let Some(url) = sitemaps.get(next) {
        let read = fetch(url).await.and_then(|xml| parse(&xml));
        next += 1;
        let read = match read {
            Ok(read) => read,
            Err(reason) if next == 1 => return Err((url.clone(), reason)),
            Err(reason) => {
                found.unread.push((url.clone(), reason));
                continue;
            }
        };
        found.pages.extend(read.pages);
        for sitemap in read.sitemaps {
            // They may name each other.
            if !sitemaps.contains(&sitemap) {
                sitemaps.push(sitemap);
            }
        }
        if sitemaps.len() > SITEMAPS_MAX {
            return Err((
                sitemaps.swap_remove(next - 1),
                format!("it names more than {SITEMAPS_MAX} sitemaps"),
            ));
        }
    }
    Ok(found)
}

/// Returns the content at a URL, or at the one that it redirects to.
async fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let mut url = url.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        match get(&url).await? {
            Got::Content(content) => return Ok(content),
            Got::Elsewhere(location) if location.starts_with('/') => {
                let end = url.find("://").map_or(0, |at| at + 3);
                let end = url[end..].find('/').map_or(url.len(), |at| at + end);
                url.replace_range(end.., &location);
            }
            Got::Elsewhere(location) => url = location,
        }
    }
    Err(format!("it has more than {REDIRECTS_MAX} redirects"))
}

/// What a server answers.
enum Got {
    Content(Vec<u8>),
    Elsewhere(String),
}

async fn get(url: &str) -> Result<Got, String> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("expected a URL that begins with `http://` or `https://`".to_owned());
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector(&uri, None));
    let request = Request::get(uri).body(Empty::new()).expect("the URL was parsed before");
    let exchange = async {
        let response = client.request(request).await.map_err(|error| innermost(&error))?;
        let (status, location) = (response.status(), response.headers().get(LOCATION));
        if let Some(location) = location.filter(|_| status.is_redirection()) {
            return Ok(Got::Elsewhere(String::from_utf8_lossy(location.as_bytes()).into_owned()));
        }
        if status != StatusCode::OK {
            return Err(format!("the server answered {status}"));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        let body = body.map(Collected::to_bytes).map_err(|error| innermost(&*error))?;
        inflated(&body).map(Got::Content).map_err(|error| error.to_string())
    };
    timeout(TIMEOUT, exchange).await.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?
}

/// Returns the content of a file that may be compressed by gzip.
fn inflated(content: &[u8]) -> io::Result<Vec<u8>> {
    if !content.starts_with(&GZIP) {
        return Ok(content.to_vec());
    }
    let mut inflated = Vec::new();
    let length = GzDecoder::new(content).take(BYTES_MAX as u64 + 1).read_to_end(&mut inflated)?;
    if length > BYTES_MAX {
        return Err(io::Error::other("it is longer than 50 MiB"));
    }
    Ok(inflated)
}

fn parse(xml: &[u8]) -> Result<Sitemap, String> {
    let text = std::str::from_utf8(xml).map_err(|_| "it is not in UTF-8".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut sitemap = Sitemap::default();
    // The names of the elements that are open, and the text of the innermost.
    let (mut open, mut text): (Vec<Vec<u8>>, _) = (Vec::new(), String::new());
    // What stands before the names of the sitemap's own elements.
    let (mut prefix, mut is_begun) = (None, false);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                let of_start = start.name().prefix().map(|prefix| prefix.as_ref().to_vec());
                if !is_begun {
                    (prefix, is_begun) = (of_start.clone(), true);
                }
                // Images and videos of a page have a `loc` in another namespace.
                let is_own = of_start == prefix;
                open.push(if is_own { start.local_name().as_ref().to_vec() } else { Vec::new() });
                if !matches!(&*open[0], b"urlset" | b"sitemapindex") {
                    return Err("it is no sitemap".to_owned());
                }
                text.clear();
            }
            Event::Text(more) => text += &more.decode().map_err(|error| error.to_string())?,
            Event::CData(more) => text += &more.decode().map_err(|error| error.to_string())?,
            Event::GeneralRef(entity) => text += &resolved(&entity)?,
            Event::End(_) => {
                match &open.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
                    [b"urlset", b"url", b"loc"] => sitemap.pages.push(text.trim().to_owned()),
                    [b"sitemapindex", b"sitemap", b"loc"] => sitemap.sitemaps.push(text.trim().to_owned()),
                    _ => {}
                }
                open.pop();
                text.clear();
            }
            Event::Eof if is_begun && open.is_empty() => return Ok(sitemap),
            Event::Eof if is_begun => return Err("it breaks off".to_owned()),
            Event::Eof => return Err("it is no sitemap".to_owned()),
            // A sitemap without pages.
            Event::Empty(_) if !is_begun => is_begun = true,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// Returns the text that an entity stands for.
fn resolved(entity: &BytesRef<'_>) -> Result<String, String> {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return Ok(character.to_string());
    }
    let name = String::from_utf8_lossy(entity);
    let text = quick_xml::escape::resolve_predefined_entity(&name);
    text.map(str::to_owned).ok_or_else(|| format!("it has the unknown entity `&{name};`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_sitemaps_are_named_by_loc() {
        let pages = br#"<?xml version="1.0" encoding="UTF-8"?>
            <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url>
              <loc> http://a.example/x?a=1&amp;b=2 </loc><lastmod>2026-11-30</lastmod>
              <image:image><image:loc>http://a.example/i.png</image:loc></image:image></url>
              <url><loc><![CDATA[http://a.example/y]]></loc></url></urlset>"#;
        let read = parse(pages).unwrap();
        assert_eq!(read.pages, ["http://a.example/x?a=1&b=2", "http://a.example/y"]);
        assert!(read.sitemaps.is_empty());
        let index = b"<sitemapindex><sitemap><loc>http://a.example/1.xml</loc></sitemap></sitemapindex>";
        assert_eq!(parse(index).unwrap().sitemaps, ["http://a.example/1.xml"]);
        let prefixed =
            b"<s:urlset xmlns:s=\"x\"><s:url><s:loc>http://a.example/&#38;&#x41;</s:loc></s:url></s:urlset>";
        assert_eq!(parse(prefixed).unwrap().pages, ["http://a.example/&A"]);
        for (xml, expected) in [
            (&b"<html><loc>http://a.example/</loc></html>"[..], "it is no sitemap"),
            (b"", "it is no sitemap"),
            (b"<urlset><url><loc>http://a.ex", "it breaks off"),
            (b"<urlset><url><loc>&nbsp;</loc></url></urlset>", "it has the unknown entity `&nbsp;`"),
            (b"<urlset>\xff</urlset>", "it is not in UTF-8"),
        ] {
            assert_eq!(parse(xml).unwrap_err(), expected);
        }
    }
}
