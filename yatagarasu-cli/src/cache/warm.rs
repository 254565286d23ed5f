//! `cache warm`: has many objects fetched into a cache.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::{Display, Write as _};
use std::fs::{self, File, OpenOptions};
use std::future::{pending, ready};
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write, stdin};
use std::path::Path;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};
use http::Uri;
use http::uri::Parts;
use serde_json::{Value, json};
use tokio::signal::ctrl_c;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use yatagarasu_server::admin::warm::{Warmed, Warmth};
use yatagarasu_server::service::explain::{Asked, Explanation};

use super::client::AdminClient;
use super::error::AdminError;
use super::progress::{Progress, say};
use super::sitemap::{self, Sitemaps};
use crate::args::WarmArguments;
use crate::stdout;
use crate::words::{counted, size};

/// Number of keys that are read ahead.
const AHEAD: usize = 1024;

/// Decisions of a server that serves something else instead of the object.
const INSTEAD: [&str; 3] = ["redirect", "not_found", "page"];

/// An object to fetch.
#[derive(Debug)]
struct Wanted {
    key: String,
    /// The reason why a page of the sitemap has no object in this bucket. `key` is then the page's URL.
    missing: Option<String>,
}

/// What is to be fetched. An error is the last item.
type Keys<'a> = LocalBoxStream<'a, Result<Wanted, AdminError>>;

fn wanted(key: String) -> Wanted {
    Wanted { key, missing: None }
}

/// Runs the command. Returns the text to print at its end.
pub(super) async fn run(client: &AdminClient, arguments: &WarmArguments) -> Result<String, AdminError> {
    let done = match &arguments.journal {
        Some(file) => Journal::read(file, &arguments.bucket)?,
        None => HashSet::new(),
    };
    let left_out = Cell::new(0);
    let (keys, total) = keys(client, arguments, &done).await?;
    let keys = keys.filter(|key| {
        let is_done = key.as_ref().is_ok_and(|wanted| done.contains(&wanted.key));
        left_out.set(left_out.get() + u64::from(is_done));
        ready(!is_done)
    });
    if arguments.dry_run {
        return print_keys(keys, arguments.json).await;
    }
    let bucket = &*arguments.bucket;
    let mut journal = arguments.journal.as_deref().map(|file| Journal::open(file, bucket)).transpose()?;
    let mut progress = Progress::begin(arguments.json);
    if let Some(total) = total {
        progress.know_total(total);
    }
    let fetching = paced(keys.boxed_local(), arguments.rate).map(|wanted| fetch(client, bucket, wanted));
    let mut fetched = pin!(fetching.buffer_unordered(arguments.jobs.into()));
    let mut interrupted = pin!(interrupted(journal.is_some()));
    let (mut sums, mut ended) = (Sums::default(), Ok(()));
    loop {
        let next = tokio::select! {
            next = fetched.next() => next,
            error = &mut interrupted => Some(Err(error)),
        };
        let Some(one) = next else { break };
        let (key, Warmed { result, bytes, reason }) = match one {
            Ok(one) => one,
            // The next ones would fail as well. More keys may never come, so that nothing is waited for.
            Err(error) => {
                ended = Err(error);
                break;
            }
        };
        sums.add(result, bytes);
        progress.advance(bytes);
        if arguments.json {
            print(&json!({ "key": key, "result": result, "bytes": bytes, "reason": reason }))?;
        } else if let Some(what) = named(result) {
            progress.say(&format!("{what}: {key}: {reason}"));
        }
        // The next run tries the others again: their reason may be gone.
        if let Some(journal) = journal.as_mut().filter(|_| named(result).is_none()) {
            journal.note(&key)?;
        }
    }
    let text = sums.text(left_out.get(), progress.elapsed(), arguments.json);
    drop(progress);
    tell_if_too_many(client, bucket, &sums).await;
    let outcome = ended.and_then(|()| sums.verdict(left_out.get()));
    if outcome.is_err() && sums.objects() > 0 {
        print(&text.trim_end())?;
    }
    outcome.map(|()| text)
}

/// Asks the server to fetch an object. Returns its key and the result.
async fn fetch(
    client: &AdminClient,
    bucket: &str,
    wanted: Result<Wanted, AdminError>,
) -> Result<(String, Warmed), AdminError> {
    let Wanted { key, missing } = wanted?;
    let failed = |reason| Warmed { result: Warmth::Failed, bytes: 0, reason };
    let warmed = match missing {
        None => match client.warm(bucket, &key).await {
            // It concerns this object alone.
            Err(AdminError::Slow { seconds, .. }) => failed(format!("it was not there within {seconds} s")),
            warmed => warmed?,
        },
        Some(reason) => failed(reason),
    };
    Ok((key, warmed))
}

/// Prints a hint if the objects together are larger than the cache.
async fn tell_if_too_many(client: &AdminClient, bucket: &str, sums: &Sums) {
    let bytes = sums.cached_bytes();
    // Without the statistics nothing is said: the objects were fetched.
    let capacity = client.stats().await.ok().and_then(|stats| stats.capacity(bucket));
    if let Some(capacity) = capacity.filter(|capacity| *capacity < bytes) {
        let (asked, held) = (size(bytes), size(capacity));
        say(&format!(
            "the objects have {asked}, and the cache holds {held}: it has let go of the first ones (`cache.max_size`)"
        ));
    }
}

/// Waits for Ctrl-C. Returns the error to end with.
async fn interrupted(has_journal: bool) -> AdminError {
    if ctrl_c().await.is_err() {
        // Without a handler, the signal ends the process.
        pending::<()>().await;
    }
    let how = if has_journal { "the" } else { "with --journal, the" };
    AdminError::Incomplete(format!("interrupted: {how} same command goes on from there"))
}

/// Returns the word for an object that is not in the cache, or `None` if it is.
fn named(result: Warmth) -> Option<&'static str> {
    match result {
        Warmth::Stored | Warmth::Present => None,
        Warmth::NotStored => Some("not stored"),
        Warmth::Failed => Some("failed"),
    }
}

/// Returns the keys that the command line names, and the number of those that are not `done` if it is known before.
async fn keys<'a>(
    client: &'a AdminClient,
    arguments: &'a WarmArguments,
    done: &HashSet<String>,
) -> Result<(Keys<'a>, Option<u64>), AdminError> {
    if let Some(url) = &arguments.objects.sitemap {
        let read = sitemap::pages(url).await;
        let Sitemaps { pages, unread } = read.map_err(|(url, reason)| AdminError::Sitemap { url, reason })?;
        let total = (pages.len() + unread.len()) as u64;
        let unread = unread.into_iter().map(|(key, reason)| Ok(Wanted { key, missing: Some(reason) }));
        let keys = stream::iter(unread).chain(routed(client, &arguments.bucket, pages));
        // Which of the pages are done is not known before their keys are.
        return Ok((keys.boxed_local(), Some(total).filter(|_| done.is_empty())));
    }
    match (&arguments.objects.from, &arguments.objects.prefix) {
        (Some(file), _) if file.as_os_str() == "-" => Ok((lines(BufReader::new(stdin()), file), None)),
        (Some(file), _) => {
            let open = || File::open(file).map_err(|error| of_file("--from", file, &error));
            let opened = open()?;
            // A pipe can be read once only.
            let is_file = opened.metadata().is_ok_and(|metadata| metadata.is_file());
            let total = if is_file {
                let lines = BufReader::new(open()?).lines().map_while(Result::ok);
                Some(lines.filter(|line| !line.is_empty() && !done.contains(line)).count() as u64)
            } else {
                None
            };
            Ok((lines(BufReader::new(opened), file), total))
        }
        (None, prefix) => {
            Ok((listed(client, &arguments.bucket, prefix.as_deref().unwrap_or_default()), None))
        }
    }
}

/// Reads keys, one a line, in a thread that the end of the process does not wait for: standard input may take its time.
fn lines(file: impl BufRead + Send + 'static, name: &Path) -> Keys<'static> {
    let (keys, read) = mpsc::channel(AHEAD);
    let (name, sender) = (name.to_owned(), keys.clone());
    let reading = move || {
        for (number, line) in file.lines().enumerate() {
            let key = match line {
                Ok(line) if line.is_empty() => continue,
                // Editors of Windows begin a file with a mark.
                Ok(line) if number == 0 => Ok(wanted(line.trim_start_matches('\u{feff}').to_owned())),
                Ok(line) => Ok(wanted(line)),
                Err(error) => Err(of_file("--from", &name, &error)),
            };
            // Nobody reads on after an error.
            let is_last = key.is_err();
            if sender.blocking_send(key).is_err() || is_last {
                return;
            }
        }
    };
    if let Err(error) = thread::Builder::new().spawn(reading) {
        let _ = keys.try_send(Err(of_file("--from", Path::new("-"), &error)));
    }
    drop(keys);
    stream::unfold(read, async |mut read| Some((read.recv().await?, read))).boxed_local()
}

/// Returns the keys at S3 that begin with `prefix`, page by page.
fn listed<'a>(client: &'a AdminClient, bucket: &'a str, prefix: &'a str) -> Keys<'a> {
    // The continuation of the next page, if there is one.
    let pages = stream::unfold(Some(None), async move |next: Option<Option<String>>| {
        match client.list(bucket, prefix, next?.as_deref()).await {
            Ok(page) => {
                let keys: Vec<_> = page.objects.into_iter().map(|object| Ok(wanted(object.key))).collect();
                Some((keys, page.next.map(Some)))
            }
            Err(error) => Some((vec![Err(error)], None)),
        }
    });
    pages.flat_map(stream::iter).boxed_local()
}

/// Asks the server which objects its clients get at these URLs.
fn routed<'a>(client: &'a AdminClient, bucket: &'a str, pages: Vec<String>) -> Keys<'a> {
    stream::iter(pages).then(move |page| object_at(client, bucket, page)).boxed_local()
}

async fn object_at(client: &AdminClient, bucket: &str, page: String) -> Result<Wanted, AdminError> {
    let Ok(Parts { path_and_query: Some(path), authority: Some(host), .. }) =
        page.parse::<Uri>().map(Uri::into_parts)
    else {
        return Ok(Wanted { key: page, missing: Some("it is no URL".to_owned()) });
    };
    // Of any listener: the URL may be that of a proxy in front.
    let headers = vec![("Host".to_owned(), host.to_string())];
    let asked = Asked { url: path.to_string(), method: "GET".to_owned(), headers };
    let missing = match client.explain(&asked).await? {
        Explanation { bucket: Some(found), .. } if found.is != bucket => {
            format!("it is of the bucket {}", found.is)
        }
        // Its query is a part of what is stored.
        Explanation { s3: Some(sent), .. } if sent.url.contains('?') => {
            "it has a query that S3 gets".to_owned()
        }
        Explanation { key: Some(key), decision, .. } if !INSTEAD.contains(&&*decision.is) => {
            return Ok(wanted(key.is));
        }
        Explanation { decision, .. } => decision.because,
    };
    Ok(Wanted { key: page, missing: Some(missing) })
}

/// Returns the same keys, at most so many in a second.
fn paced(keys: Keys<'_>, rate: Option<u32>) -> impl Stream<Item = Result<Wanted, AdminError>> {
    let pace = rate.map(|rate| {
        let mut pace = interval(Duration::from_secs(1) / rate);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pace
    });
    stream::unfold((keys, pace), async |(mut keys, mut pace)| {
        let key = keys.next().await?;
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        Some((key, (keys, pace)))
    })
}

/// Prints the keys. Returns the text to print after them.
async fn print_keys(
    keys: impl Stream<Item = Result<Wanted, AdminError>>,
    as_json: bool,
) -> Result<String, AdminError> {
    let (mut keys, mut count) = (pin!(keys), 0);
    while let Some(key) = keys.next().await {
        let Wanted { key, missing } = key?;
        if let Some(reason) = missing {
            say(&format!("failed: {key}: {reason}"));
            continue;
        }
        count += 1;
        if as_json { print(&json!({ "key": key }))? } else { print(&key)? }
    }
    if as_json {
        return Ok(format!("{}\n", json!({ "objects": count })));
    }
    // Not among the keys, which another command may read.
    say(&format!("{} would be fetched", counted(count, "object")));
    Ok(String::new())
}

/// Prints a line.
fn print(line: &impl Display) -> Result<(), AdminError> {
    let unwritable = |error: std::io::Error| AdminError::Output(format!("{}: {error}", stdout::FAILED));
    stdout::print(&format!("{line}\n")).map_err(unwritable)
}

/// The number of objects of each result, and their bytes.
#[derive(Debug, Default)]
struct Sums([(u64, u64); 4]);

impl Sums {
    fn add(&mut self, result: Warmth, bytes: u64) {
        let (objects, sum) = &mut self.0[result as usize];
        (*objects, *sum) = (*objects + 1, *sum + bytes);
    }

    fn of(&self, result: Warmth) -> u64 {
        self.0[result as usize].0
    }

    fn objects(&self) -> u64 {
        self.0.iter().map(|(objects, _)| objects).sum()
    }

    /// Returns the bytes of the objects that are or were stored.
    fn cached_bytes(&self) -> u64 {
        [Warmth::Stored, Warmth::Present].iter().map(|result| self.0[*result as usize].1).sum()
    }

    /// Returns an error if objects have failed, or there were none.
    fn verdict(&self, left_out: u64) -> Result<(), AdminError> {
        let reason = match (self.of(Warmth::Failed), self.objects() + left_out) {
            (0, 0) => "there was nothing to fetch: is what names the objects right?".to_owned(),
            (0, _) => return Ok(()),
            (failed, _) => format!("{} could not be fetched", counted(failed, "object")),
        };
        Err(AdminError::Incomplete(reason))
    }

    fn text(&self, left_out: u64, took: Duration, as_json: bool) -> String {
        let [stored, present, not_stored, failed] =
            [Warmth::Stored, Warmth::Present, Warmth::NotStored, Warmth::Failed]
                .map(|result| self.of(result));
        let bytes = self.0[Warmth::Stored as usize].1;
        if as_json {
            let sums: Value = json!({
                "stored": stored, "stored_bytes": bytes, "present": present, "not_stored": not_stored,
                "failed": failed, "left_out": left_out,
            });
            return format!("{sums}\n");
        }
        let mut text = format!(
            "{} in {:.1} s: {stored} stored ({}), {present} there already, {not_stored} not stored, {failed} failed",
            counted(self.objects(), "object"),
            took.as_secs_f64(),
            size(bytes),
        );
        if left_out > 0 {
            let _ = write!(text, "; {left_out} left out, which the journal has");
        }
        text + "\n"
    }
}

/// A file of the objects that are done, each a line of JSON, because a key may have line breaks.
#[derive(Debug)]
struct Journal<'a> {
    file: File,
    name: &'a Path,
    bucket: &'a str,
}

impl<'a> Journal<'a> {
    /// Returns the keys of a bucket in the file. None if there is no file yet.
    fn read(name: &Path, bucket: &str) -> Result<HashSet<String>, AdminError> {
        let text = match fs::read(name) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashSet::new()),
            Err(error) => return Err(of_file("--journal", name, &error)),
        };
        // A line may have been cut off: its object is fetched again.
        let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        let lines: Vec<[String; 2]> = lines.collect();
        if lines.is_empty() && !text.trim_ascii().is_empty() {
            let reason = "it is no journal: name a file that is not there yet".to_owned();
            return Err(AdminError::File { option: "--journal", file: name.display().to_string(), reason });
        }
        let of_bucket = |[of, key]: [String; 2]| (of == bucket).then_some(key);
        Ok(lines.into_iter().filter_map(of_bucket).collect())
    }

    /// Opens or makes the file.
    fn open(name: &'a Path, bucket: &'a str) -> Result<Self, AdminError> {
        let open = || {
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(name)?;
            let mut last = [b'\n'];
            if file.metadata()?.len() > 0 {
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
            }
            // A line that was cut off would swallow the next one.
            if last != [b'\n'] {
                file.write_all(b"\n")?;
            }
            Ok(file)
        };
        let file = open().map_err(|error| of_file("--journal", name, &error))?;
        Ok(Self { file, name, bucket })
    }

    fn note(&mut self, key: &str) -> Result<(), AdminError> {
        let line = format!("{}\n", json!([self.bucket, key]));
        self.file.write_all(line.as_bytes()).map_err(|error| of_file("--journal", self.name, &error))
    }
}

fn of_file(option: &'static str, file: &Path, error: &std::io::Error) -> AdminError {
    AdminError::File { option, file: file.display().to_string(), reason: error.to_string() }
}
