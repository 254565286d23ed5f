//! The folder that the demo's S3 server serves.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::examples::Examples;
use super::samples;
use super::sidecars::BUCKET;

/// A temporary folder that contains the bucket's folder, or a link to a given one. Removed when dropped.
pub(super) struct Content {
    root: TempDir,
    objects: PathBuf,
    examples: Examples,
}

impl Content {
    /// Creates the temporary folder. Writes samples into the bucket, or links `dir` as the bucket without changing
    /// it.
    pub(super) fn prepare(dir: Option<&Path>) -> io::Result<Self> {
        let root = TempDir::with_prefix("yatagarasu-demo-")?;
        let bucket = root.path().join(BUCKET);
        if let Some(dir) = dir {
            symlink(dir.canonicalize()?, &bucket)?;
        } else {
            fs::create_dir(&bucket)?;
            samples::write(&bucket)?;
        }
        let objects = bucket.canonicalize()?;
        let examples = if dir.is_some() {
            Examples::find(&objects)
        } else {
            Examples::named(&objects, samples::SMALL, samples::LARGE)
        };
        Ok(Self { root, objects, examples })
    }

    /// Returns the folder that `s3s-fs` uses as the parent of all buckets.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns the canonical path of the folder with the objects.
    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }

    /// Returns the objects to try the commands with.
    pub(super) fn examples(&self) -> &Examples {
        &self.examples
    }

    /// Removes the temporary folder.
    ///
    /// # Errors
    ///
    /// Returns an error if the folder cannot be removed. Dropping the value would ignore it.
    pub(super) fn remove(self) -> io::Result<()> {
        self.root.close()
    }
}
