//! Which stored objects clients get in a content coding.

use std::fmt;
use std::sync::Arc;

use crate::cache::segments::Segments;
use crate::http::coding::{Accepted, CodedTypes, Coding};

/// The compression of a bucket's objects.
#[derive(Debug, Clone)]
pub struct Compression {
    /// The codings that clients may get.
    pub codings: Vec<Coding>,
    /// Whether stored objects are compressed.
    pub compress: bool,
    /// The types of the objects.
    pub types: Arc<CodedTypes>,
    /// The length of the smallest object that is compressed, in bytes.
    pub bytes_min: u64,
}

impl Compression {
    /// Returns the codings that a client may get, its best one first.
    pub fn codings_for(&self, accepted: Accepted) -> impl Iterator<Item = Coding> {
        accepted.codings().filter(|coding| self.codings.contains(coding))
    }
}

/// Compresses content in the background, at a lower priority than requests.
pub trait Compressor: fmt::Debug + Send + Sync {
    /// Takes a job. Returns `false` if there is too much to do: the job is dropped, and may come again.
    fn take(&self, job: CompressionJob) -> bool;
}

/// Content to compress.
pub struct CompressionJob {
    /// The coding.
    pub coding: Coding,
    /// Returns the content. Returns `None` if the object is not stored any more: it may go before its turn.
    pub content: Box<dyn FnOnce() -> Option<Segments> + Send>,
    /// Takes the result: the compressed content, or `None` if that is hardly shorter.
    pub done: Box<dyn FnOnce(Option<Segments>) + Send>,
}

impl fmt::Debug for CompressionJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressionJob").field("coding", &self.coding).finish_non_exhaustive()
    }
}

/// Compresses nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCompressor;

impl Compressor for NoCompressor {
    fn take(&self, _job: CompressionJob) -> bool {
        false
    }
}
