//! The content codings.
//!
//! The levels are those that take about as long as reading from S3 did, tens of megabytes a second: an object is compressed
//! once and sent often, but the first clients wait for it.

use std::io::{self, Read};

use yatagarasu_core::Segments;
use yatagarasu_core::cache::segments::SegmentsBuilder;
use yatagarasu_core::http::coding::Coding;

/// The level of brotli, of 11.
const BROTLI_LEVEL: u32 = 5;

/// The base-2 logarithm of brotli's window. Browsers take up to 24.
const BROTLI_WINDOW: u32 = 22;

/// The level of zstd, of 22.
const ZSTD_LEVEL: i32 = 9;

/// The level of gzip, of 9.
const GZIP_LEVEL: u32 = 6;

/// The size of the buffers between the content and the codec, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Returns the content in a coding. Returns `None` if that is not shorter by a tenth at least.
pub(super) fn compressed(content: &Segments, coding: Coding) -> Option<Segments> {
    let longest = content.length() / 10 * 9;
    let reader = Reader { content, offset: 0 };
    // Beyond the limit nobody needs the rest.
    let made = match coding {
        Coding::Brotli => {
            let reader = brotli::CompressorReader::new(reader, BUFFER_BYTES, BROTLI_LEVEL, BROTLI_WINDOW);
            read(reader, longest)
        }
        Coding::Zstandard => {
            zstd::stream::read::Encoder::new(reader, ZSTD_LEVEL).and_then(|reader| read(reader, longest))
        }
        Coding::Gzip => {
            read(flate2::read::GzEncoder::new(reader, flate2::Compression::new(GZIP_LEVEL)), longest)
        }
    };
    match made {
        Ok(bytes) => bytes.map(|bytes| {
            let mut segments = SegmentsBuilder::new(Some(bytes.len() as u64));
            segments.push(&bytes);
            segments.finish()
        }),
        Err(error) => {
            tracing::warn!(%error, coding = coding.name(), "an object could not be compressed");
            None
        }
    }
}

fn read(reader: impl Read, longest: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(longest + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= longest))
}

/// Reads stored content.
struct Reader<'a> {
    content: &'a Segments,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.content.length().min(self.offset + buffer.len() as u64);
        let bytes = self.content.slice(&(self.offset..wanted));
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Segments {
        let mut segments = SegmentsBuilder::new(Some(bytes.len() as u64));
        segments.push(bytes);
        segments.finish()
    }

    fn restored(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut restored = Vec::new();
        match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut restored),
            Coding::Zstandard => zstd::Decoder::new(bytes).unwrap().read_to_end(&mut restored),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut restored),
        }
        .unwrap();
        restored
    }

    #[test]
    fn texts_come_back_as_they_were() {
        let text = "The quick brown fox jumps over the lazy dog.\n".repeat(20_000);
        let stored = content(text.as_bytes());
        for coding in Coding::ALL {
            let made = compressed(&stored, coding).unwrap();
            assert!(made.length() < stored.length() / 50, "{coding:?}: {}", made.length());
            let bytes = made.slice(&(0..made.length()));
            assert_eq!(restored(coding, &bytes), text.as_bytes(), "{coding:?}");
        }
    }

    #[test]
    fn what_gets_hardly_shorter_is_left_alone() {
        let mut state = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(500_000)
        .collect();
        for coding in Coding::ALL {
            assert!(compressed(&content(&noise), coding).is_none(), "{coding:?}");
            assert!(compressed(&content(b""), coding).is_none(), "{coding:?}");
        }
    }
}
