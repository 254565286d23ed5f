//! The list of stored keys: made, handed over in memory, and written to and read from a file.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::{CacheKey, Selector};

use crate::admin::Admin;
use crate::config::WarmRestart;
use crate::service::buckets::Buckets;

/// The environment variable with the number of the descriptor that holds the previous process's list.
pub(in crate::server) const KEYS_FD: &str = "YATAGARASU_KEYS_FD";

/// Name of the memory that holds a list, as `/proc` shows it.
const MEMORY_NAME: &str = "yatagarasu-keys";

/// Maximum length of a list in bytes. This program writes no longer ones.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// Time limit for making a list, and for writing it. Bounds how long a stop or a handover waits.
const LIST_TIME_MAX: Duration = Duration::from_secs(5);

/// The key of a stored object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct StoredKey {
    pub(super) bucket: String,
    pub(super) key: String,
}

/// Returns the keys of at most `objects_max` stored objects, one JSON object a line: the most requested ones, a random sample of
/// the others, then the keys that are still pending. Returns `None` after [`LIST_TIME_MAX`].
pub(in crate::server) async fn list(admin: &Admin, objects_max: u32) -> Option<String> {
    let mut heat: HashMap<String, u64> = HashMap::new();
    for (name, requests) in admin.metrics().threads().iter().flat_map(|thread| thread.hottest.list()) {
        *heat.entry(name).or_default() += requests;
    }
    let (buckets, pending) = (admin.buckets(), admin.pending.all().clone());
    // Visiting a million entries takes seconds.
    let listing = spawn_blocking(move || {
        let mut keys = stored(&buckets, objects_max as usize, &heat);
        let known: HashSet<_> = keys.iter().cloned().collect();
        keys.extend(pending.into_iter().filter(|one| !known.contains(one)));
        let lines = keys.iter().map(|one| serde_json::to_string(one).expect("texts") + "\n");
        lines.take(objects_max as usize).collect()
    });
    timeout(LIST_TIME_MAX, listing).await.ok()?.ok()
}

/// Returns the keys of at most `objects_max` stored objects: the hottest ones first, then a random sample of the others. The cache
/// lists entries by name, which says nothing about how useful they are.
fn stored(buckets: &Buckets, objects_max: usize, heat: &HashMap<String, u64>) -> Vec<StoredKey> {
    let (mut hot, mut others, mut seen) = (Vec::new(), Vec::new(), 0);
    for bucket in buckets.all() {
        let mut after = None;
        loop {
            let page = bucket.gateway.page(&Selector::All, after.as_ref());
            for (key, entry) in &page.entries {
                // A list holds no query and no variant, so it can only name entries of plain requests.
                let is_plain = *key == CacheKey::new(key.object.clone(), None);
                if !is_plain || !matches!(entry.kind(), EntryKind::Full(_) | EntryKind::Coded(_)) {
                    continue;
                }
                let stored =
                    || StoredKey { bucket: bucket.name.to_string(), key: key.object.as_str().to_owned() };
                if let Some(requests) = heat.get(&[&*bucket.name, key.object.as_str()].join("\0")) {
                    hot.push((*requests, stored()));
                    continue;
                }
                // Algorithm R (Vitter, "Random sampling with a reservoir", 1985).
                seen += 1;
                if others.len() < objects_max {
                    others.push(stored());
                } else if let Some(place) = others.get_mut(fastrand::usize(..seen)) {
                    *place = stored();
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    hot.sort_by_key(|(requests, _)| std::cmp::Reverse(*requests));
    let hot = hot.into_iter().map(|(_, key)| key);
    hot.chain(others).take(objects_max).collect()
}

/// Copies a list into anonymous memory that another process can read.
pub(in crate::server) fn in_memory(list: &str) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create(MEMORY_NAME, MemfdFlags::CLOEXEC)?);
    memory.write_all(list.as_bytes())?;
    memory.rewind()?;
    Ok(memory.into())
}

/// Opens the memory that [`in_memory`] made. Returns `None` for any other descriptor: [`Source::forget`] truncates the file, and a
/// stale environment variable may name a log.
fn in_memory_of_predecessor(descriptor: &str) -> Option<File> {
    let target = fs::read_link(descriptor).ok()?;
    let is_list = target.to_str()?.starts_with(&format!("/memfd:{MEMORY_NAME}"));
    is_list.then(|| OpenOptions::new().read(true).write(true).open(descriptor).ok()).flatten()
}

/// Writes the list to the configured file, if there is one. Logs a failure and returns: the server stops either way.
pub(in crate::server) async fn save(admin: &Admin, settings: WarmRestart) {
    let Some(file) = settings.file.filter(|_| settings.rate > 0) else { return };
    let shown = file.display().to_string();
    let Some(list) = list(admin, settings.objects_max).await else {
        return tracing::error!("the file of `server.warm_restart` was not written: the list took too long");
    };
    let objects = list.lines().count();
    let written = spawn_blocking(move || write(&list, &file));
    match timeout(LIST_TIME_MAX, written).await.map_err(io::Error::from) {
        Ok(Ok(Ok(()))) => tracing::info!(file = shown, objects, "the keys of stored objects were written"),
        Ok(Ok(Err(error))) | Err(error) => {
            tracing::error!(file = shown, %error, "the file of `server.warm_restart` cannot be written");
        }
        // The runtime ends.
        Ok(Err(_)) => {}
    }
}

/// Returns `true` if a file exists and is no list. A wrong path must not destroy it.
fn has_something_else(file: &Path) -> bool {
    if !file.is_file() {
        return false;
    }
    let first_line = File::open(file).and_then(|opened| {
        let mut line = String::new();
        BufReader::new(opened.take(LIST_BYTES_MAX)).read_line(&mut line).map(|_| line)
    });
    match first_line {
        Ok(line) => !line.is_empty() && serde_json::from_str::<StoredKey>(&line).is_err(),
        Err(error) => error.kind() == io::ErrorKind::InvalidData,
    }
}

/// Replaces a file by a list, atomically. Only the owner can read it, because keys can be confidential.
fn write(list: &str, file: &Path) -> io::Result<()> {
    if has_something_else(file) {
        let reason = "it is no list of keys, and stays as it is: name another file, or remove it";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
    }
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    // A killed process may have left one.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    created.write_all(list.as_bytes())?;
    created.sync_all()?;
    fs::rename(&beside, file)
}

/// Where the previous process left its list.
#[derive(Debug)]
pub(in crate::server) enum Source {
    /// In memory, by a handover.
    Predecessor(File),
    /// In the configured file.
    File(PathBuf),
}

impl Source {
    /// Returns the list of the process that hands over, else the configured file. Returns `None` if there is neither.
    #[expect(clippy::disallowed_methods, reason = "the other process sets it, not the operator")]
    pub(in crate::server) fn find(settings: &WarmRestart) -> Option<Self> {
        let number = std::env::var(KEYS_FD).ok().and_then(|number| number.parse::<u32>().ok());
        let passed = number.and_then(|number| in_memory_of_predecessor(&format!("/proc/self/fd/{number}")));
        passed.map(Self::Predecessor).or_else(|| settings.file.clone().map(Self::File))
    }

    /// Frees the memory of a handed-over list. The inherited descriptor would hold it until this process ends.
    pub(in crate::server) fn forget(&self) {
        if let Self::Predecessor(file) = self {
            // A failure only costs the memory.
            let _ = file.set_len(0);
        }
    }

    /// Reads the list. Returns an empty one if there is no file.
    pub(super) fn read(self) -> io::Result<VecDeque<StoredKey>> {
        let opened = match &self {
            Self::Predecessor(file) => file.try_clone()?,
            // Without NONBLOCK, opening a FIFO blocks until somebody writes to it.
            Self::File(path) => {
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                match OpenOptions::new().read(true).custom_flags(flags).open(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
                    opened => opened?,
                }
            }
        };
        if !opened.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file"));
        }
        let mut text = Vec::new();
        let read = opened.take(LIST_BYTES_MAX).read_to_end(&mut text);
        self.forget();
        read?;
        // A line that the limit or a bad copy has cut off is dropped.
        let Some(end) = text.iter().rposition(|&byte| byte == b'\n') else {
            let reason = io::Error::new(io::ErrorKind::InvalidData, "it has no whole line");
            return if text.is_empty() { Ok(VecDeque::new()) } else { Err(reason) };
        };
        let lines = text[..end].split(|&byte| byte == b'\n');
        lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_whole_and_for_the_owner_only() {
        use std::os::fd::AsRawFd;
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(folder.path().join("keys.new"), "left over").unwrap();
        let one = StoredKey { bucket: "assets".to_owned(), key: "a b\n\"c".to_owned() };
        let list = serde_json::to_string(&one).unwrap() + "\n";
        write(&list, &file).unwrap();
        write(&list, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Source::File(file.clone()).read().unwrap(), std::slice::from_ref(&one));
        let memory = File::from(in_memory(&list).unwrap());
        assert_eq!(Source::Predecessor(memory.try_clone().unwrap()).read().unwrap(), [one]);
        assert_eq!(memory.metadata().unwrap().len(), 0, "it takes no memory any more");
        let opened = |file: &File| in_memory_of_predecessor(&format!("/proc/self/fd/{}", file.as_raw_fd()));
        assert!(opened(&memory).is_some() && opened(&File::open(&file).unwrap()).is_none());
        assert!(Source::File(folder.path().to_owned()).read().is_err());
        fs::write(&file, format!("{list}{{\"bucket\":\"ass")).unwrap();
        assert_eq!(Source::File(file.clone()).read().unwrap().len(), 1, "the last line is cut off");
        for other in ["no list\n", "no list", "\u{0}\n"] {
            fs::write(&file, other).unwrap();
            assert!(Source::File(file.clone()).read().is_err(), "{other}");
            assert!(write(&list, &file).is_err(), "{other}");
            assert_eq!(fs::read_to_string(&file).unwrap(), other, "it stays");
        }
        fs::write(&file, "").unwrap();
        write(&list, &file).unwrap();
        assert_eq!(Source::File(folder.path().join("none")).read().unwrap(), []);
    }
}
