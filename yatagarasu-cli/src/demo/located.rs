//! Finds the file of a key, without leaving the served folder.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use tokio::fs;
use yatagarasu_core::http::validator::{EntityTag, Validators};

/// The metadata of an object's file at the time of the lookup.
#[derive(Debug)]
pub(super) struct Located {
    length: u64,
    /// In whole seconds, because HTTP dates are no more precise.
    modified: SystemTime,
    /// The entity tag with its quotes.
    quoted_tag: String,
}

/// Finds the file that `key` names below `folder`, which is a canonical path.
///
/// Returns `None` if the key is not a plain relative path, if there is no regular file, or if links lead out of the
/// folder.
pub(super) async fn locate(folder: &Path, key: &str) -> Option<Located> {
    if key.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return None;
    }
    let file = fs::canonicalize(folder.join(key)).await.ok()?;
    let metadata = fs::metadata(&file).await.ok()?;
    (file.starts_with(folder) && metadata.is_file()).then(|| Located::of(&metadata))
}

impl Located {
    /// Describes a file. Its entity tag is derived from its length and its modification time in nanoseconds.
    pub(super) fn of(metadata: &Metadata) -> Self {
        let modified = metadata.modified().ok();
        let modified = modified.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default();
        Self {
            length: metadata.len(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(modified.as_secs()),
            quoted_tag: format!("\"{:x}-{:x}\"", modified.as_nanos(), metadata.len()),
        }
    }

    /// Returns the length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the modification time, in whole seconds.
    pub(super) fn modified(&self) -> SystemTime {
        self.modified
    }

    /// Returns the entity tag without its quotes.
    pub(super) fn tag(&self) -> &str {
        self.quoted_tag.trim_matches('"')
    }

    /// Returns the entity tag as a header field value.
    pub(super) fn tag_field(&self) -> HeaderValue {
        HeaderValue::try_from(&self.quoted_tag).expect("digits in quotes are a value")
    }

    /// Returns the validators for conditional requests.
    pub(super) fn validators(&self) -> Validators<'_> {
        Validators {
            etag: EntityTag::parse(self.quoted_tag.as_bytes()),
            last_modified: Some(self.modified),
            date: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, write};
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn only_regular_files_of_the_folder_are_objects() {
        let around = tempfile::tempdir().unwrap();
        let root = around.path().canonicalize().unwrap();
        let folder = root.join("folder");
        create_dir(&folder).unwrap();
        create_dir(folder.join("sub")).unwrap();
        write(root.join("secret"), "s").unwrap();
        write(folder.join("sub/a b.txt"), "hello").unwrap();
        symlink(root.join("secret"), folder.join("out")).unwrap();
        symlink(&root, folder.join("up")).unwrap();
        symlink("sub/a b.txt", folder.join("in")).unwrap();
        for key in ["sub/a b.txt", "in"] {
            let found = locate(&folder, key).await.expect(key);
            assert_eq!(found.length(), 5);
        }
        for key in [
            "",
            "sub",
            "sub/",
            "missing",
            "out",
            "up/secret",
            "/sub/a b.txt",
            "sub//a b.txt",
            "./in",
            "sub/../in",
            "../secret",
            "in/",
            "in/x",
            "a\0b",
            "sub/a b.txt/..",
        ] {
            assert!(locate(&folder, key).await.is_none(), "{key:?}");
        }
    }

    #[tokio::test]
    async fn another_content_has_another_tag() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        write(folder.join("k"), "one").unwrap();
        let before = locate(&folder, "k").await.unwrap();
        write(folder.join("k"), "three").unwrap();
        let after = locate(&folder, "k").await.unwrap();
        assert_ne!(before.tag(), after.tag());
        assert!(before.validators().etag.is_some());
    }
}
