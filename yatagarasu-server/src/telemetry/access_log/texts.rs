//! The texts of one request that its line needs, in one allocation that the next request uses again.

use std::cell::RefCell;

/// Maximum length of a text that a client has sent, in bytes. A key has at most 1,024.
const BYTES_MAX: usize = 3 * 1024;

/// Most texts that a thread keeps for the next requests, and the maximum capacity of each.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 1024;

thread_local! {
    /// Memory of texts that were logged.
    static SPARE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// A text of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    Path,
    Query,
    Host,
    Referer,
    UserAgent,
    Key,
}

/// The number of texts.
const COUNT: usize = 6;

/// The texts of one request.
#[derive(Debug)]
pub(super) struct Texts {
    all: String,
    /// Where each text begins and ends.
    places: [Option<(u32, u32)>; COUNT],
}

impl Texts {
    /// Creates an empty list.
    pub(super) fn new() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self { all: spare.unwrap_or_default(), places: [None; COUNT] }
    }

    /// Sets a text. One that is too long ends in `...`.
    pub(super) fn set(&mut self, text: Text, value: &str) {
        let begin = self.all.len();
        if value.len() > BYTES_MAX {
            self.all.push_str(&value[..value.floor_char_boundary(BYTES_MAX)]);
            self.all.push_str("...");
        } else {
            self.all.push_str(value);
        }
        let place = |at: usize| u32::try_from(at).expect("six texts of 3 KiB");
        self.places[text as usize] = Some((place(begin), place(self.all.len())));
    }

    /// Returns a text if it is set.
    pub(super) fn get(&self, text: Text) -> Option<&str> {
        self.places[text as usize].map(|(begin, end)| &self.all[begin as usize..end as usize])
    }
}

impl Drop for Texts {
    fn drop(&mut self) {
        let mut all = std::mem::take(&mut self.all);
        if all.capacity() > KEPT_BYTES {
            return;
        }
        all.clear();
        // A thread that ends has nothing to keep.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(all);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_its_own() {
        for _ in 0..2 {
            let mut texts = Texts::new();
            assert_eq!(texts.get(Text::Path), None, "nothing is left of the request before");
            texts.set(Text::Key, "k");
            texts.set(Text::Path, "/a");
            texts.set(Text::Host, "");
            assert_eq!((texts.get(Text::Path), texts.get(Text::Key)), (Some("/a"), Some("k")));
            assert_eq!((texts.get(Text::Host), texts.get(Text::Query)), (Some(""), None));
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let mut texts = Texts::new();
        texts.set(Text::UserAgent, &"é".repeat(BYTES_MAX));
        let cut = texts.get(Text::UserAgent).unwrap();
        assert_eq!(cut.len(), BYTES_MAX + 3);
        assert!(cut.ends_with("é..."));
        drop(texts);
        assert!(SPARE.with_borrow(|spare| spare.iter().all(|text| text.capacity() <= KEPT_BYTES)));
    }
}
