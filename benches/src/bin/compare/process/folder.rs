//! Temporary folders, in memory if the system has a file system for that.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

/// File system in memory that most systems have.
const MEMORY: &str = "/dev/shm";

/// Creates a folder that is removed when dropped.
pub(super) fn create() -> io::Result<TempDir> {
    let create_in = |place: &Path| Builder::new().prefix("yatagarasu-compare-").tempdir_in(place);
    create_in(&place()).or_else(|_| create_in(&env::temp_dir()))
}

/// Returns the parent of new folders: `MEMORY`, unless no program can run from there. Varnish compiles its
/// configuration into a library.
fn place() -> PathBuf {
    match fs::read_to_string("/proc/mounts") {
        Ok(mounts) if is_fit(&mounts) => PathBuf::from(MEMORY),
        Ok(_) | Err(_) => env::temp_dir(),
    }
}

fn is_fit(mounts: &str) -> bool {
    let mut options = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        (words.next()? == MEMORY).then(|| words.nth(1))?
    });
    options.next_back().is_some_and(|options| !options.split(',').any(|option| option == "noexec"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_fit_where_programs_may_be_run_from_it() {
        let root = "/dev/vda / ext4 rw,noexec 0 0\n";
        assert!(is_fit(&format!("{root}tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n")));
        assert!(!is_fit(&format!("{root}shm /dev/shm tmpfs rw,nosuid,noexec 0 0\n")));
        assert!(!is_fit(root));
    }
}
