use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::examples::Examples;
use super::samples;
use super::sidecars::BUCKET;

/// A temporary folder with the bucket's in it, which is a link where a folder is given. Goes when dropped.
pub(super) struct Content {
    root: TempDir,
    objects: PathBuf,
    examples: Examples,
}

impl Content {
    /// Puts samples into a bucket, or stands the folder `dir` in for one, without a change to it.
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

    /// What `s3s-fs` takes for the folder of all buckets.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The canonical path of the folder with the objects.
    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }

    /// Objects to try the commands with.
    pub(super) fn examples(&self) -> &Examples {
        &self.examples
    }

    /// Removes the temporary folder, and says whether that worked.
    pub(super) fn remove(self) -> io::Result<()> {
        self.root.close()
    }
}
