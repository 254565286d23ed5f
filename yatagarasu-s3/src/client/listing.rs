//! Lists of keys (Amazon S3 API reference, `ListObjectsV2`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use quick_xml::Reader;
use quick_xml::events::Event;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use yatagarasu_core::source::list::{ListPage, Listed, Listing};
use yatagarasu_core::{ObjectBody, SourceError, SourceRequest};

use crate::client::error_document::resolved;
use crate::client::sender::{BucketClient, Outgoing};

/// Maximum number of bytes of a page: 1,000 keys of 1,024 escaped bytes, with their elements.
const PAGE_BYTES_MAX: usize = 8 << 20;

/// The bytes of a value in a query that are percent-encoded: all but the unreserved ones of RFC 3986 2.3.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends the request for a page and reads it.
pub(crate) async fn list(
    sender: &BucketClient,
    listing: &Listing,
    request: &SourceRequest,
) -> Result<ListPage, SourceError> {
    let outgoing = Outgoing {
        method: Method::GET,
        key: String::new(),
        query: Some(query(listing)),
        // Those of a client are about what is made of the list.
        headers: HeaderMap::new(),
        traffic: request.traffic,
    };
    let (head, content) = sender.send(outgoing).await?.into_parts();
    if head.status != StatusCode::OK {
        return Err(SourceError::broken("a status that is none of a list"));
    }
    let mut body = ObjectBody::new(Box::pin(content), None);
    let mut document = Vec::new();
    while let Some(chunk) = body.next().await {
        document.extend_from_slice(&chunk?);
        if document.len() > PAGE_BYTES_MAX {
            return Err(SourceError::broken("a page of a list is longer than 8 MiB"));
        }
    }
    parse(&document)
}

/// Returns the query of a request for a page. Keys come escaped, because XML has no form for all of their characters.
fn query(listing: &Listing) -> Arc<str> {
    let Listing { prefix, delimiter, continuation, keys_max } = listing;
    let mut query = String::new();
    let mut add = |name: &str, value: &str| {
        let separator = if query.is_empty() { "" } else { "&" };
        query.extend([separator, name, "="]);
        query.extend(utf8_percent_encode(value, VALUE));
    };
    if let Some(continuation) = continuation {
        add("continuation-token", continuation);
    }
    if let Some(delimiter) = delimiter {
        add("delimiter", delimiter);
    }
    add("encoding-type", "url");
    add("list-type", "2");
    add("max-keys", &keys_max.to_string());
    if !prefix.is_empty() {
        add("prefix", prefix);
    }
    query.into()
}

/// The elements of a page, as they were sent.
#[derive(Debug, Default)]
struct RawPage {
    encoding: String,
    truncated: String,
    next: String,
    objects: Vec<RawObject>,
    folders: Vec<String>,
}

#[derive(Debug, Default)]
struct RawObject {
    key: String,
    size: String,
    modified: String,
    etag: String,
}

impl RawPage {
    /// Returns the place of the text of an element.
    fn field(&mut self, path: &[Vec<u8>]) -> Option<&mut String> {
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        let [b"ListBucketResult", path @ ..] = path.as_slice() else { return None };
        match path {
            [b"EncodingType"] => Some(&mut self.encoding),
            [b"IsTruncated"] => Some(&mut self.truncated),
            [b"NextContinuationToken"] => Some(&mut self.next),
            [b"CommonPrefixes", b"Prefix"] => self.folders.last_mut(),
            [b"Contents", name] => {
                let object = self.objects.last_mut()?;
                match *name {
                    b"Key" => Some(&mut object.key),
                    b"Size" => Some(&mut object.size),
                    b"LastModified" => Some(&mut object.modified),
                    b"ETag" => Some(&mut object.etag),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Returns the page.
    ///
    /// # Errors
    ///
    /// Returns an error if an object has no key or no size, or the next page is not named.
    fn read(self) -> Result<ListPage, SourceError> {
        let is_escaped = self.encoding.trim() == "url";
        let decode = |text: &str| decoded(text, is_escaped).map(Cow::into_owned);
        let object = |raw: &RawObject| {
            Some(Listed {
                key: decode(&raw.key).filter(|key| !key.is_empty())?,
                size: raw.size.trim().parse().ok()?,
                modified: date(raw.modified.trim()),
                etag: Some(raw.etag.trim().to_owned()).filter(|etag| !etag.is_empty()),
            })
        };
        let objects: Option<Vec<_>> = self.objects.iter().map(object).collect();
        let folders: Option<Vec<_>> = self.folders.iter().map(|folder| decode(folder)).collect();
        let (Some(objects), Some(folders)) = (objects, folders) else {
            return Err(SourceError::broken("an object of a list has no key or no size"));
        };
        let next = match self.truncated.trim() {
            "true" if self.next.is_empty() => {
                return Err(SourceError::broken("a list goes on, but not where"));
            }
            "true" => Some(self.next),
            _ => None,
        };
        Ok(ListPage { objects, folders, next })
    }
}

/// Parses a page. It has to be whole.
fn parse(document: &[u8]) -> Result<ListPage, SourceError> {
    let (mut page, mut path, mut is_whole) = (RawPage::default(), Vec::new(), false);
    let mut reader = Reader::from_reader(document);
    let broken = |reason: &str| SourceError::broken(format!("a list is no document of S3: {reason}"));
    let append = |page: &mut RawPage, path: &[Vec<u8>], text: &str| {
        if let Some(field) = page.field(path) {
            field.push_str(text);
        }
    };
    loop {
        match reader.read_event().map_err(|error| broken(&error.to_string()))? {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_vec());
                match (path.len(), path.last().map(Vec::as_slice)) {
                    (2, Some(b"Contents")) => page.objects.push(RawObject::default()),
                    (2, Some(b"CommonPrefixes")) => page.folders.push(String::new()),
                    _ => {}
                }
            }
            Event::Text(text) => append(&mut page, &path, &String::from_utf8_lossy(&text)),
            Event::CData(text) => append(&mut page, &path, &String::from_utf8_lossy(&text)),
            Event::GeneralRef(entity) => {
                append(&mut page, &path, &resolved(&entity));
            }
            Event::End(_) => {
                is_whole |= path.len() == 1 && path[0] == b"ListBucketResult";
                path.pop();
            }
            Event::Eof if is_whole => return page.read(),
            Event::Eof => return Err(broken("it ends too early, or is none")),
            _ => {}
        }
    }
}

/// Undoes the escapes of a form (WHATWG URL 5.1), which S3 uses. Returns `None` for what is not UTF-8.
fn decoded(text: &str, is_escaped: bool) -> Option<Cow<'_, str>> {
    if !is_escaped {
        return Some(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()))
}

fn date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_page_is_read_with_its_escapes() {
        let page = parse(
            b"<?xml version=\"1.0\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name>\
              <Prefix>x</Prefix><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
              <Contents><Key>a%2Bb+c%0A</Key><LastModified>1970-01-01T00:01:00.500Z</LastModified><ETag>&quot;e&#34;</ETag>\
              <Size>7</Size><Owner><ID>x</ID></Owner></Contents><CommonPrefixes><Prefix>d%C3%A9/</Prefix></CommonPrefixes>\
              <NextContinuationToken>t+1</NextContinuationToken></ListBucketResult>",
        )
        .unwrap();
        let object = Listed {
            key: "a+b c\n".to_owned(),
            size: 7,
            modified: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(60_500)),
            etag: Some("\"e\"".to_owned()),
        };
        let (folders, next) = (vec!["d\u{e9}/".to_owned()], Some("t+1".to_owned()));
        assert_eq!(page, ListPage { objects: vec![object], folders, next });
        let plain = parse(
            b"<ListBucketResult><Contents><Key>a+b%20</Key><Size>0</Size></Contents></ListBucketResult>",
        );
        assert_eq!(plain.unwrap().objects[0].key, "a+b%20");
    }

    #[test]
    fn what_is_no_whole_page_is_an_error() {
        for document in [
            "",
            "<html></html>",
            "<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>",
            "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
            "<ListBucketResult><Contents><Key></Key><Size>1</Size></Contents></ListBucketResult>",
            "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
            "<ListBucketResult><Contents><Key>%ff</Key><Size>1</Size></Contents><EncodingType>url</EncodingType></ListBucketResult>",
            "<ListBucketResult></Other>",
        ] {
            assert!(parse(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn a_query_is_sorted_and_escaped() {
        let listing = Listing {
            prefix: "a b/&+".to_owned(),
            delimiter: Some("/".to_owned()),
            continuation: Some("1/x==".to_owned()),
            keys_max: 100,
        };
        assert_eq!(
            &*query(&listing),
            "continuation-token=1%2Fx%3D%3D&delimiter=%2F&encoding-type=url&list-type=2&max-keys=100&prefix=a%20b%2F%26%2B"
        );
        assert_eq!(
            &*query(&Listing { keys_max: 5, ..Listing::default() }),
            "encoding-type=url&list-type=2&max-keys=5"
        );
    }
}
