use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use base64_simd::URL_SAFE_NO_PAD;
use serde_json::json;
use tokio::fs;

/// The one bucket there is.
pub(super) const BUCKET: &str = "demo";

/// Longest name of a file.
const NAME_BYTES_MAX: usize = 255;

/// Files beside the bucket's folder that tell `s3s-fs` the entity tags of objects.
///
/// Without them it reads every file through before it answers, to compute one.
pub(super) struct Sidecars {
    root: PathBuf,
    drafts: AtomicU64,
}

impl Sidecars {
    /// Keeps them in `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), drafts: AtomicU64::new(0) }
    }

    /// Notes the entity tag of an object, unless it is noted already.
    ///
    /// Keys too long to be part of a file's name have none: their files are read through.
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
        // Moved into place as a whole: other requests for the object may be reading.
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
