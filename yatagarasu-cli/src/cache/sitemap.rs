//! Reads sitemaps (<https://www.sitemaps.org/protocol.html>): the URLs of a website's pages.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use quick_xml::Reader;
use quick_xml::events::Event;
use tokio::time::timeout;
use yatagarasu_core::innermost;

use super::connector::connector;

/// Timeout for one sitemap.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum length of a sitemap, as the protocol has it.
const BYTES_MAX: usize = 50 << 20;

/// Maximum number of sitemaps that others name.
const SITEMAPS_MAX: usize = 1_000;

/// What a sitemap names.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sitemap {
    pages: Vec<String>,
    sitemaps: Vec<String>,
}

/// Returns the URLs of the pages that the sitemap at `url` names, and of those in the sitemaps that it names.
///
/// # Errors
///
/// Returns the sitemap that cannot be read, and why.
pub(super) async fn pages(url: &str) -> Result<Vec<String>, (String, String)> {
    let mut pages = Vec::new();
    let (mut sitemaps, mut next) = (vec![url.to_owned()], 0);
    while let Some(url) = sitemaps.get(next) {
        let read = fetch(url).await.and_then(|xml| parse(&xml));
        let read = read.map_err(|reason| (url.clone(), reason))?;
        next += 1;
        pages.extend(read.pages);
        for sitemap in read.sitemaps {
            // They may name each other.
            if !sitemaps.contains(&sitemap) && sitemaps.len() < SITEMAPS_MAX {
                sitemaps.push(sitemap);
            }
        }
    }
    Ok(pages)
}

async fn fetch(url: &str) -> Result<Bytes, String> {
    let uri: Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err("expected a URL that begins with `http://` or `https://`".to_owned());
    }
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector(&uri));
    let request = Request::get(uri).body(Empty::new()).expect("the URL was parsed before");
    let exchange = async {
        let response = client.request(request).await.map_err(|error| innermost(&error))?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answered {}", response.status()));
        }
        let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
        body.map(Collected::to_bytes).map_err(|error| innermost(&*error))
    };
    timeout(TIMEOUT, exchange).await.map_err(|_| format!("no answer within {} s", TIMEOUT.as_secs()))?
}

fn parse(xml: &[u8]) -> Result<Sitemap, String> {
    let text = std::str::from_utf8(xml)
        .map_err(|_| "it is not in UTF-8; compressed ones are not read".to_owned())?;
    let mut reader = Reader::from_str(text);
    let mut sitemap = Sitemap::default();
    // The names of the elements that are open, and the text of the innermost.
    let (mut open, mut text) = (Vec::new(), String::new());
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                open.push(start.name().as_ref().to_vec());
                text.clear();
            }
            Event::Text(more) => text += &more.decode().map_err(|error| error.to_string())?,
            Event::CData(more) => text += &more.decode().map_err(|error| error.to_string())?,
            Event::GeneralRef(name) => {
                let name = name.decode().map_err(|error| error.to_string())?;
                text += quick_xml::escape::resolve_predefined_entity(&name).unwrap_or_default();
            }
            Event::End(_) => {
                // Images and videos of a page have a `loc` in another namespace.
                match &open.iter().map(Vec::as_slice).collect::<Vec<_>>()[..] {
                    [b"urlset", b"url", b"loc"] => sitemap.pages.push(text.trim().to_owned()),
                    [b"sitemapindex", b"sitemap", b"loc"] => sitemap.sitemaps.push(text.trim().to_owned()),
                    _ => {}
                }
                open.pop();
                text.clear();
            }
            Event::Eof if open.is_empty() => return Ok(sitemap),
            Event::Eof => return Err("it breaks off".to_owned()),
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
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
        assert_eq!(parse(b"<html><loc>http://a.example/</loc></html>").unwrap(), Sitemap::default());
        assert_eq!(parse(b"<urlset><url><loc>http://a.ex").unwrap_err(), "it breaks off");
        assert!(parse(b"\x1f\x8b\x08\xff").unwrap_err().contains("compressed"));
    }
}
