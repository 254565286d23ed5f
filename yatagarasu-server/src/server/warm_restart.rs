//! Warms the caches of a process that takes the place of another one: with the keys of what that one had stored, the hottest
//! ones first.
//!
//! In a handover the keys go from one process to the other in memory. Otherwise they are in a file, if the configuration
//! names one: written when the server stops, and read when it starts. No object is ever written. What a process has not
//! come to fetch is on its own list again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use rustix::fs::{MemfdFlags, OFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use yatagarasu_core::cache::entry::EntryKind;
use yatagarasu_core::{CacheKey, ObjectKey, Selector};

use crate::admin::Admin;
use crate::admin::warm::{Warmth, warm};
use crate::config::{Config, WarmRestart};
use crate::service::buckets::{Bucket, Buckets};

/// The variable with the number of the descriptor that the process before has put its keys into.
pub(super) const KEYS_FD: &str = "YATAGARASU_KEYS_FD";

/// Number of objects that are fetched at a time.
const AT_A_TIME: usize = 8;

/// Maximum length of a list: longer ones are not of this program.
const LIST_BYTES_MAX: u64 = 1 << 30;

/// Longest time for making a list, and for writing it. Neither a stop nor a handover waits longer.
const LIST_TIME_MAX: Duration = Duration::from_secs(5);

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Kept {
    bucket: String,
    key: String,
}

/// The objects that are still to be fetched, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Awaited(Arc<Mutex<VecDeque<Kept>>>);

impl Awaited {
    fn all(&self) -> MutexGuard<'_, VecDeque<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<Taken> {
        let one = self.all().pop_front()?;
        Some(Taken { one: Some(one), awaited: self.clone() })
    }
}

/// An object that is being fetched. If it is dropped before it is done, the object is awaited again.
struct Taken {
    one: Option<Kept>,
    awaited: Awaited,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(one) = self.one.take() {
            self.awaited.all().push_back(one);
        }
    }
}

/// Returns a list of the stored objects, a line of JSON each, at most so many: those that are asked for most, others by chance,
/// and those that are still to be fetched. Returns `None` if that takes too long.
pub(super) async fn list(admin: &Admin, objects_max: u32) -> Option<String> {
    let mut heat: HashMap<String, u64> = HashMap::new();
    for (name, requests) in admin.metrics().threads().iter().flat_map(|thread| thread.hottest.list()) {
        *heat.entry(name).or_default() += requests;
    }
    let (buckets, awaited) = (admin.buckets(), admin.awaited.all().clone());
    // Visiting many takes long, so it runs on a blocking thread.
    let listing = spawn_blocking(move || {
        let mut kept = stored(&buckets, objects_max as usize, &heat);
        let known: HashSet<_> = kept.iter().cloned().collect();
        kept.extend(awaited.into_iter().filter(|one| !known.contains(one)));
        let lines = kept.iter().map(|one| serde_json::to_string(one).expect("texts") + "\n");
        lines.take(objects_max as usize).collect()
    });
    timeout(LIST_TIME_MAX, listing).await.ok()?.ok()
}

/// Returns stored objects, the hottest ones first. Of the others it takes so many by chance: those that come first by
/// their names are no better than the last.
fn stored(buckets: &Buckets, objects_max: usize, heat: &HashMap<String, u64>) -> Vec<Kept> {
    let (mut hot, mut others, mut seen) = (Vec::new(), Vec::new(), 0);
    for bucket in buckets.all() {
        let mut after = None;
        loop {
            let page = bucket.gateway.page(&Selector::All, after.as_ref());
            for (key, entry) in &page.entries {
                // What else a request has to say to get the entry is not kept.
                let is_plain = *key == CacheKey::new(key.object.clone(), None);
                if !is_plain || !matches!(entry.kind(), EntryKind::Full(_) | EntryKind::Coded(_)) {
                    continue;
                }
                let kept = || Kept { bucket: bucket.name.to_string(), key: key.object.as_str().to_owned() };
                if let Some(requests) = heat.get(&[&*bucket.name, key.object.as_str()].join("\0")) {
                    hot.push((*requests, kept()));
                    continue;
                }
                // Each has the same chance: algorithm R (Vitter, "Random sampling with a reservoir", 1985).
                seen += 1;
                if others.len() < objects_max {
                    others.push(kept());
                } else if let Some(place) = others.get_mut(fastrand::usize(..seen)) {
                    *place = kept();
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    hot.sort_by_key(|(requests, _)| std::cmp::Reverse(*requests));
    let hot = hot.into_iter().map(|(_, kept)| kept);
    hot.chain(others).take(objects_max).collect()
}

/// The name of the memory that a list is in, for people who look at `/proc`.
const MEMORY_NAME: &str = "yatagarasu-keys";

/// Puts a list where another process can read it.
pub(super) fn in_memory(list: &str) -> io::Result<OwnedFd> {
    let mut memory = File::from(memfd_create(MEMORY_NAME, MemfdFlags::CLOEXEC)?);
    memory.write_all(list.as_bytes())?;
    memory.rewind()?;
    Ok(memory.into())
}

/// Opens what [`in_memory`] has made. Returns `None` if the descriptor is anything else, such as a log: a variable may be left of
/// another process, and what is opened here is emptied later.
fn in_memory_of_predecessor(descriptor: &str) -> Option<File> {
    let target = fs::read_link(descriptor).ok()?;
    let is_list = target.to_str()?.starts_with(&format!("/memfd:{MEMORY_NAME}"));
    is_list.then(|| OpenOptions::new().read(true).write(true).open(descriptor).ok()).flatten()
}

/// Writes a list into the file of the settings for the next start, if one is named. A server that cannot do so stops all the same.
pub(super) async fn keep(admin: &Admin, settings: WarmRestart) {
    let Some(file) = settings.file.filter(|_| settings.rate > 0) else { return };
    let shown = file.display().to_string();
    let Some(list) = list(admin, settings.objects_max).await else {
        return tracing::error!("the list of `server.warm_restart` is not made: it took too long");
    };
    let objects = list.lines().count();
    let written = spawn_blocking(move || write(&list, &file));
    match timeout(LIST_TIME_MAX, written).await.map_err(io::Error::from) {
        Ok(Ok(Ok(()))) => tracing::info!(file = shown, objects, "the keys of stored objects are kept"),
        Ok(Ok(Err(error))) | Err(error) => {
            tracing::error!(file = shown, %error, "the file of `server.warm_restart` cannot be written");
        }
        // The runtime ends.
        Ok(Err(_)) => {}
    }
}

/// Writes a list into a file, whole or not at all. Only the owner may read it: keys may say much.
fn write(list: &str, file: &Path) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let beside = PathBuf::from(name);
    // One that is left of a process that was killed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    created.write_all(list.as_bytes())?;
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
        let passed = number.and_then(|number| in_memory_of_predecessor(&format!("/proc/self/fd/{number}")));
        passed.map(Self::Predecessor).or_else(|| settings.file.clone().map(Self::File))
    }

    /// Forgets the keys in memory, which would stay there as long as this process does.
    pub(super) fn forget(&self) {
        if let Self::Predecessor(file) = self {
            // It is what it was, if this fails.
            let _ = file.set_len(0);
        }
    }

    fn read(self) -> io::Result<VecDeque<Kept>> {
        let opened = match &self {
            Self::Predecessor(file) => file.try_clone()?,
            // Opening a pipe waits for its other end.
            Self::File(path) => {
                let flags = OFlags::NONBLOCK.bits().cast_signed();
                match OpenOptions::new().read(true).custom_flags(flags).open(path) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
                    opened => opened?,
                }
            }
        };
        if !opened.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        let lines = BufReader::new(opened.take(LIST_BYTES_MAX)).lines();
        let kept = lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::from)).collect();
        self.forget();
        kept
    }
}

/// Fetches the objects of a list into the caches, as long as and as fast as the settings say.
pub(super) async fn run(source: Source, admin: Arc<Admin>, config: watch::Receiver<Arc<Config>>) {
    let kept = match spawn_blocking(move || source.read()).await {
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
    tracing::info!(objects, "warming the caches with what the process before had stored");
    *admin.awaited.all() = kept;
    let due = stream::unfold((Arc::clone(&admin), config), async |(admin, config)| {
        // The rate may be another one now.
        let rate = config.borrow().server.warm_restart.rate;
        sleep(Duration::from_secs(1).checked_div(rate)?).await;
        Some((next(&admin).await?, (admin, config)))
    });
    let fetching = due.map(|taken| fetch(taken, admin.buckets())).buffer_unordered(AT_A_TIME);
    let mut fetching = pin!(fetching);
    let [mut stored, mut skipped] = [0; 2];
    // Those that fail are put aside, so that they are not tried for ever.
    let mut failed = Vec::new();
    while let Some(fetched) = fetching.next().await {
        match fetched {
            Fetched::Stored => stored += 1,
            Fetched::Skipped => skipped += 1,
            Fetched::Failed(taken) => failed.push(taken),
        }
    }
    let failed = failed.len();
    let seconds = begun.elapsed().as_secs();
    tracing::info!(objects, stored, skipped, failed, seconds, "the caches are warm");
}

/// Returns the next object whose source is up, after others if it must. Returns `None` if there are no more.
async fn next(admin: &Admin) -> Option<Taken> {
    loop {
        let waiting = admin.awaited.all().len();
        // Each of them once.
        for _ in 0..waiting {
            let taken = admin.awaited.next()?;
            let one = taken.one.as_ref().expect("it is just taken");
            let buckets = admin.buckets();
            let is_down = |bucket: &Bucket| bucket.origins.iter().all(|origin| origin.circuit.is_open());
            if !find(&buckets, one).is_some_and(|bucket| is_down(bucket)) {
                return Some(taken);
            }
        }
        if waiting == 0 {
            return None;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

fn find<'a>(buckets: &'a Buckets, one: &Kept) -> Option<&'a Arc<Bucket>> {
    buckets.all().iter().find(|bucket| *bucket.name == *one.bucket)
}

/// What has become of an object.
enum Fetched {
    Stored,
    /// It is gone, may not be stored, or is of no bucket.
    Skipped,
    Failed(Taken),
}

async fn fetch(mut taken: Taken, buckets: Arc<Buckets>) -> Fetched {
    let one = taken.one.as_ref().expect("it is not done");
    // The configuration may be another one now.
    let (bucket, key) = (find(&buckets, one), ObjectKey::parse(&one.key));
    let result = match (bucket, key) {
        (Some(bucket), Ok(key)) => warm(&bucket.gateway, key).await.result,
        _ => Warmth::NotStored,
    };
    if result == Warmth::Failed {
        return Fetched::Failed(taken);
    }
    taken.one = None;
    if result == Warmth::NotStored { Fetched::Skipped } else { Fetched::Stored }
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
        let one = Kept { bucket: "assets".to_owned(), key: "a b\n\"c".to_owned() };
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
        fs::write(&file, "no list\n").unwrap();
        assert!(Source::File(file).read().is_err());
        assert_eq!(Source::File(folder.path().join("none")).read().unwrap(), []);
    }
}
