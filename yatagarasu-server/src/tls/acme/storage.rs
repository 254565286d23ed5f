//! The files of an authority's account and of certificates.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::tls::acme::AcmeConfig;

/// Makes the folder, for its owner alone.
pub(super) fn prepare(config: &AcmeConfig) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(config.folder())
}

/// Returns the file of the account.
pub(super) fn account(config: &AcmeConfig) -> PathBuf {
    config.folder().join("account.json")
}

/// Returns the file of the key for the next certificate. It is there before the order, so that no certificate is issued that
/// cannot be stored, and no key is lost with an order that has not ended.
pub(super) fn next_key(config: &AcmeConfig) -> PathBuf {
    config.folder().join(format!("{}.key", config.domains[0]))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    // What is left of an earlier write may belong to somebody else.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
