//! Warms the caches of a process that takes the place of another one: with the keys of what that one had stored, the hottest
//! ones first.
//!
//! In a handover the keys go from one process to the other in memory. Otherwise they are in a file, if the configuration
//! names one: written when the server stops, and read when it starts. No object is ever written.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::{CacheKey, ObjectKey, Selector};

use crate::admin::warm::{Warmth, warm};
use crate::config::WarmRestart;
use crate::service::buckets::Buckets;
use crate::telemetry::counters::Metrics;

/// The variable with the number of the descriptor that the process before has put its keys into.
pub(super) const KEYS_FD: &str = "YATAGARASU_KEYS_FD";

/// Number of objects that are fetched at a time.
const AT_A_TIME: usize = 8;

/// Maximum length of a list: longer ones are not of this program.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    bucket: String,
    key: String,
}

/// Returns a list of the stored objects, a line of JSON each, at most so many: those that are asked for most, then others.
/// Visiting many takes long, so it runs on a blocking thread.
pub(super) async fn list(buckets: Arc<Buckets>, metrics: &Metrics, objects_max: u32) -> Vec<u8> {
    let mut heat: HashMap<String, u64> = HashMap::new();
    for (name, requests) in metrics.threads().iter().flat_map(|thread| thread.hottest.list()) {
        *heat.entry(name).or_default() += requests;
    }
    let listing = spawn_blocking(move || {
        let mut kept = stored(&buckets, objects_max as usize, &heat);
        kept.sort_by_key(|(heat, _)| std::cmp::Reverse(*heat));
        let lines = kept.iter().map(|(_, one)| serde_json::to_string(one).expect("texts") + "\n");
        lines.collect::<String>().into_bytes()
    });
    listing.await.unwrap_or_default()
}

/// Returns stored objects with the numbers of requests for them. Of each bucket it takes the same number, and all hot ones.
fn stored(buckets: &Buckets, objects_max: usize, heat: &HashMap<String, u64>) -> Vec<(u64, Kept)> {
    let of_each = objects_max / buckets.all().len().max(1);
    let mut kept = Vec::new();
    for bucket in buckets.all() {
        let (mut others, mut after) = (0, None);
        loop {
            let page = bucket.gateway.page(&Selector::All, after.as_ref());
            for (key, entry) in &page.entries {
                // What else a request has to say to get the entry is not kept.
                let is_plain = *key == CacheKey::new(key.object.clone(), None);
                if !is_plain || !matches!(entry.kind(), EntryKind::Full(_) | EntryKind::Coded(_)) {
                    continue;
                }
                let key = key.object.as_str();
                let requests = heat.get(&[&*bucket.name, key].join("\0")).copied().unwrap_or(0);
                if requests > 0 || others < of_each {
                    others += usize::from(requests == 0);
                    let (bucket, key) = (bucket.name.to_string(), key.to_owned());
                    kept.push((requests, Kept { bucket, key }));
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    kept
}

/// Puts a list where another process can read it.
pub(super) fn in_memory(list: &[u8]) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create("yatagarasu-keys", MemfdFlags::CLOEXEC)?);
    memory.write_all(list)?;
    memory.rewind()?;
    Ok(memory.into())
}

/// Writes a list into a file, whole or not at all. Only the owner may read it: keys may say much.
pub(super) fn write(list: &[u8], file: &Path) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    // One that is left of a process that was killed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    created.write_all(list)?;
    created.sync_all()?;
    fs::rename(&beside, file)
}

/// Where the keys of the process before are.
#[derive(Debug)]
pub(super) enum Source {
    /// In memory.
    Predecessor(File),
    File(PathBuf),
}

impl Source {
    /// Returns where the keys are: with the process that this one replaces, or in a file.
    #[expect(clippy::disallowed_methods, reason = "no configuration: it comes from the other process")]
    pub(super) fn find(settings: &WarmRestart) -> Option<Self> {
        let number = std::env::var(KEYS_FD).ok().and_then(|number| number.parse::<u32>().ok());
        let passed = number.and_then(|number| File::open(format!("/proc/self/fd/{number}")).ok());
        passed.map(Self::Predecessor).or_else(|| settings.file.clone().map(Self::File))
    }

    fn read(self) -> io::Result<Vec<Kept>> {
        let file = match self {
            Self::Predecessor(file) => file,
            Self::File(path) => match File::open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                opened => opened?,
            },
        };
        let lines = BufReader::new(file.take(LIST_BYTES_MAX)).lines();
        lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)).collect()
    }
}

/// Fetches the objects of a list into the caches, so many in a second at most.
pub(super) async fn run(source: Source, buckets: Arc<Buckets>, rate: u32) {
    let read = spawn_blocking(move || source.read()).await;
    let kept = match read {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => {
            return tracing::warn!(%error, "the list of `server.warm_restart` cannot be read: the caches begin empty");
        }
        // The runtime ends.
        Err(_) => return,
    };
    if kept.is_empty() {
        return;
    }
    let (objects, begun) = (kept.len(), Instant::now());
    tracing::info!(objects, rate, "warming the caches with what the process before had stored");
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let due = stream::unfold((ticks, kept.into_iter()), |(mut ticks, mut kept)| async move {
        let one = kept.next()?;
        ticks.tick().await;
        Some((one, (ticks, kept)))
    });
    let warming = due.map(|Kept { bucket, key }| {
        let bucket = buckets.all().iter().find(|one| *one.name == *bucket).cloned();
        async move {
            // The configuration may be another one now.
            let (Some(bucket), Ok(key)) = (bucket, ObjectKey::parse(&key)) else { return false };
            matches!(warm(&bucket.gateway, key).await.result, Warmth::Stored | Warmth::Present)
        }
    });
    let stored =
        warming.buffer_unordered(AT_A_TIME).filter(|stored| std::future::ready(*stored)).count().await;
    let seconds = begun.elapsed().as_secs_f32();
    tracing::info!(objects, stored, seconds, "the caches are warm");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_whole_and_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(folder.path().join("keys.new"), "left over").unwrap();
        let one = Kept { bucket: "assets".to_owned(), key: "a b\n\"c".to_owned() };
        let list = serde_json::to_string(&one).unwrap() + "\n";
        write(list.as_bytes(), &file).unwrap();
        write(list.as_bytes(), &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(Source::File(file.clone()).read().unwrap(), std::slice::from_ref(&one));
        let memory = in_memory(list.as_bytes()).unwrap();
        assert_eq!(Source::Predecessor(memory.into()).read().unwrap(), [one]);
        fs::write(&file, "no list\n").unwrap();
        assert!(Source::File(file).read().is_err());
        assert_eq!(Source::File(folder.path().join("none")).read().unwrap(), []);
    }
}
