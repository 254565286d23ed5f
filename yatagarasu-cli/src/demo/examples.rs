//! Chooses objects for the commands that the demo prints.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use yatagarasu_core::ObjectKey;

use super::located::Located;

/// The `max_item_size` of the demo's gateway, in bytes.
const STORED_BYTES_MAX: u64 = 10_000_000;

/// Maximum number of directory entries to look at, over all folders.
const ENTRIES_MAX: usize = 10_000;

/// Objects to try the commands with. Either may be missing.
#[derive(Debug, Default)]
pub(super) struct Examples {
    /// An object that is small enough to be cached.
    pub(super) small: Option<Example>,
    /// An object that is too large to be cached, so it is streamed.
    pub(super) large: Option<Example>,
}

/// An object to try a command with.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) key: String,
    pub(super) file: Located,
}

impl Examples {
    /// Returns the objects of `folder` with these two keys.
    pub(super) fn named(folder: &Path, small: &str, large: &str) -> Self {
        let example = |key: &str| {
            let metadata = fs::metadata(folder.join(key)).ok()?;
            Some(Example { key: key.to_owned(), file: Located::of(&metadata) })
        };
        Self { small: example(small), large: example(large) }
    }

    /// Searches `folder` for objects, breadth first. Skips entries that cannot be read.
    pub(super) fn find(folder: &Path) -> Self {
        let mut examples = Self::default();
        let mut folders = VecDeque::from([PathBuf::new()]);
        let mut looked_at = 0;
        while let Some(below) = folders.pop_front() {
            for entry in fs::read_dir(folder.join(&below)).into_iter().flatten().flatten() {
                looked_at += 1;
                if looked_at > ENTRIES_MAX || (examples.small.is_some() && examples.large.is_some()) {
                    return examples;
                }
                // Hidden files are served, but are not used as examples.
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let path = below.join(entry.file_name());
                // This is the metadata of the entry itself: links are not followed.
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.is_dir() {
                    folders.push_back(path);
                } else if metadata.is_file() {
                    examples.take(path, Located::of(&metadata));
                }
            }
        }
        examples
    }

    /// Uses a file as an example if it is not empty, if its size class has none yet, and if its key is valid and
    /// printable.
    fn take(&mut self, path: PathBuf, file: Located) {
        let place = match file.length() {
            0 => return,
            1..=STORED_BYTES_MAX => &mut self.small,
            _ => &mut self.large,
        };
        let Ok(key) = path.into_os_string().into_string() else { return };
        let legible = ObjectKey::parse(&key).is_ok() && !key.chars().any(char::is_control);
        if place.is_none() && legible {
            *place = Some(Example { key, file });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_small_and_one_large_object_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, length: u64| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(length).unwrap();
        };
        assert!(Examples::find(folder.path()).small.is_none());
        fs::create_dir(folder.path().join("sub")).unwrap();
        file("empty", 0);
        file("new\nline", 9);
        file(".hidden", 9);
        file("sub/small", STORED_BYTES_MAX);
        file("sub/large", STORED_BYTES_MAX + 1);
        let found = Examples::find(folder.path());
        assert_eq!(found.small.unwrap().key, "sub/small");
        assert_eq!(found.large.unwrap().key, "sub/large");
    }
}
