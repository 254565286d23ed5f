use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::access_log::Entry;

/// An answer of the express lane on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) head: Vec<u8>,
    /// Bytes of the head that are sent.
    sent: usize,
    /// What is not sent of the content.
    content: Bytes,
    entry: Entry,
}

impl Sending {
    pub(super) fn new(head: Vec<u8>, content: Bytes, mut entry: Entry) -> Self {
        entry.promised(Some(content.len() as u64));
        Self { head, sent: 0, content, entry }
    }

    pub(super) fn slices(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.head[self.sent..]), IoSlice::new(&self.content)]
    }

    pub(super) fn advance(&mut self, written: usize) {
        let of_head = written.min(self.head.len() - self.sent);
        self.sent += of_head;
        self.content.advance(written - of_head);
        self.entry.sent((written - of_head) as u64);
    }

    pub(super) fn is_done(&self) -> bool {
        self.sent == self.head.len() && self.content.is_empty()
    }
}
