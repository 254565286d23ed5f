//! Reads the XML document of an S3 error response.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

/// Maximum number of bytes read of an error document.
pub(crate) const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Maximum number of characters taken of one element.
const TEXT_CHARS_MAX: usize = 300;

/// The elements of an error document that the gateway uses. An element that is missing is empty.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorDocument {
    /// The error code, such as `NoSuchKey`: ASCII letters, digits, `.`, `-` and `_`.
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) request_id: String,
    pub(crate) host_id: String,
    /// The bucket's region, in the answer to a request for another one.
    pub(crate) region: String,
    /// The object's length, in the answer to a range outside of it.
    pub(crate) actual_object_size: String,
}

impl ErrorDocument {
    /// Parses a document as far as it is well-formed. `document` may be cut off, empty or no XML at all.
    pub(crate) fn parse(document: &[u8]) -> Self {
        let mut found = Self::default();
        let mut reader = Reader::from_reader(document);
        let mut element = Vec::new();
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => element = start.local_name().as_ref().to_vec(),
                Ok(Event::Text(text)) => found.append(&element, &String::from_utf8_lossy(&text)),
                Ok(Event::CData(text)) => found.append(&element, &String::from_utf8_lossy(&text)),
                // An entity is an event of its own: text comes before and after it.
                Ok(Event::GeneralRef(entity)) => {
                    found.append(&element, &resolved(&entity));
                }
                Ok(Event::End(_)) => element.clear(),
                Ok(Event::Eof) | Err(_) => break,
                Ok(_) => {}
            }
        }
        found.code.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        found
    }

    fn append(&mut self, element: &[u8], text: &str) {
        let field = match element {
            b"Code" => &mut self.code,
            b"Message" => &mut self.message,
            b"RequestId" => &mut self.request_id,
            b"HostId" => &mut self.host_id,
            b"Region" => &mut self.region,
            b"ActualObjectSize" => &mut self.actual_object_size,
            _ => return,
        };
        // Line breaks and the like would let a source write lines of its own into a log.
        let room = TEXT_CHARS_MAX.saturating_sub(field.chars().count());
        field.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(room));
    }
}

/// Returns the text that an entity stands for.
pub(crate) fn resolved(entity: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = entity.resolve_char_ref() {
        return character.to_string();
    }
    let name = String::from_utf8_lossy(entity);
    quick_xml::escape::resolve_predefined_entity(&name).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_s3_sends_is_read() {
        let document = ErrorDocument::parse(
            b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NoSuchKey</Code><Message>The &quot;key&quot; \
              does&#39;nt exist.</Message><Key>k</Key><RequestId>R1</RequestId><HostId>H1</HostId></Error>",
        );
        assert_eq!(document.code, "NoSuchKey");
        assert_eq!(document.message, "The \"key\" does'nt exist.");
        assert_eq!((&*document.request_id, &*document.host_id), ("R1", "H1"));
        let nested = b"<ErrorResponse xmlns=\"x\"><Error><s:Code a=\"b\">KMS.DisabledException</s:Code>";
        assert_eq!(ErrorDocument::parse(nested).code, "KMS.DisabledException");
    }

    #[test]
    fn nonsense_is_harmless() {
        assert_eq!(ErrorDocument::parse(b""), ErrorDocument::default());
        assert_eq!(ErrorDocument::parse(b"<html><body>no</body>").code, "");
        assert_eq!(ErrorDocument::parse(b"<Code>a\r\nb\"</Code>").code, "ab");
        assert_eq!(ErrorDocument::parse(b"<Code>unended").code, "unended");
        let long = format!("<Error><Message>a\nb{}</Message></Error>", "x".repeat(1000));
        let message = ErrorDocument::parse(long.as_bytes()).message;
        assert!(message.starts_with("a bxx") && message.len() == TEXT_CHARS_MAX, "{message}");
    }
}
