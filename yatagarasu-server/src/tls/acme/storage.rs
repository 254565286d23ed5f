//! The files of an authority's account and of a certificate.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::tls::acme::AcmeConfig;

/// Makes the folder, for its owner alone.
pub(super) fn prepare(config: &AcmeConfig) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(&config.storage)
}

/// Returns the file of the account at the authority of a configuration.
pub(super) fn account(config: &AcmeConfig) -> PathBuf {
    let (_, rest) = config.directory.split_once("://").unwrap_or(("", &config.directory));
    let name: String =
        rest.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    config.storage.join(format!("account-{name}.json"))
}

/// Writes a file that only its owner may read, whole or not at all.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)
}
