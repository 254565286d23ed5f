//! Tells `s3s-fs` the entity tags of objects.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::fs;

/// The name of the only bucket.
pub(super) const BUCKET: &str = "demo";

/// Maximum length of a file name, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// Metadata files beside the bucket's folder, from which `s3s-fs` reads the entity tags of objects.
///
/// Without such a file, `s3s-fs` reads the whole object to compute a tag before it responds.
pub(super) struct Sidecars {
    root: PathBuf,
    drafts: AtomicU64,
}

impl Sidecars {
    /// Stores the files in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), drafts: AtomicU64::new(0) }
    }

    /// Stores the entity tag of an object, unless it is stored already.
    ///
    /// A key that is too long for a file name has no such file, so `s3s-fs` reads that object whole.
    pub(super) async fn write(&self, key: &str, tag: &str) {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode_to_string(text);
        let name = format!(".bucket-{}.object-{}.internal.json", encoded(BUCKET), encoded(key));
        if name.len() > NAME_BYTES_MAX {
            return;
        }
        let file = self.root.join(name);
        let content = json!({ "e_tag": tag }).to_string();
        if fs::read_to_string(&file).await.is_ok_and(|found| found == content) {
            return;
        }
        // Renamed into place atomically, because other requests for the object may be reading.
        let draft = self.root.join(format!(".draft-{}", self.drafts.fetch_add(1, Ordering::Relaxed)));
        let written = async {
            fs::write(&draft, content).await?;
            fs::rename(&draft, &file).await
        };
        if let Err(error) = written.await {
            tracing::warn!(key, %error, "the entity tag of an object cannot be noted");
        }
    }
}
