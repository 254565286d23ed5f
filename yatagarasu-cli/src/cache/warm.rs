//! `cache warm`: has many objects fetched into a cache.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt::{Display, Write as _};
use std::fs::{File, OpenOptions};
use std::future::ready;
use std::io::{BufRead, BufReader, ErrorKind, Write, stdin};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};
use http::Uri;
use http::uri::Parts;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use yatagarasu_server::admin::warm::{Warmed, Warmth};
use yatagarasu_server::service::explain::{Asked, Explanation};

use super::client::AdminClient;
use super::error::AdminError;
use super::progress::Progress;
use super::sitemap;
use crate::args::WarmArguments;
use crate::stdout;
use crate::words::{counted, size};

/// Number of keys that are read ahead.
const AHEAD: usize = 1024;

/// An object to fetch.
#[derive(Debug)]
struct Wanted {
    key: String,
    /// Why there is none, if a page of a sitemap leads to no object of the bucket. The key is its URL then.
    missing: Option<String>,
}

/// What is to be fetched. An error is the last item.
type Keys<'a> = LocalBoxStream<'a, Result<Wanted, AdminError>>;

fn wanted(key: String) -> Wanted {
    Wanted { key, missing: None }
}

/// Runs the command. Returns the text to print at its end.
pub(super) async fn run(client: &AdminClient, arguments: &WarmArguments) -> Result<String, AdminError> {
    let (mut journal, done) = match &arguments.journal {
        Some(file) => Journal::open(file).map(|(journal, done)| (Some(journal), done))?,
        None => (None, HashSet::new()),
    };
    let left_out = Cell::new(0);
    let (keys, total) = keys(client, arguments).await?;
    let keys = keys.filter(|key| {
        let is_done = key.as_ref().is_ok_and(|wanted| done.contains(&wanted.key));
        left_out.set(left_out.get() + u64::from(is_done));
        ready(!is_done)
    });
    if arguments.dry_run {
        return print_keys(keys, arguments.json).await;
    }
    let mut progress = Progress::begin(arguments.json);
    if let Some(total) = total {
        progress.know_total(total.saturating_sub(done.len() as u64));
    }
    let fetching = paced(keys.boxed_local(), arguments.rate).map(async |wanted| {
        let Wanted { key, missing } = wanted?;
        let warmed = match missing {
            None => client.warm(&arguments.bucket, &key).await?,
            Some(reason) => Warmed { result: Warmth::Failed, bytes: 0, reason },
        };
        Ok::<_, AdminError>((key, warmed))
    });
    let mut fetched = pin!(fetching.buffer_unordered(arguments.jobs.into()));
    let mut sums = Sums::default();
    while let Some(one) = fetched.next().await {
        let (key, Warmed { result, bytes, reason }) = one?;
        sums.add(result, bytes);
        progress.advance(bytes);
        if arguments.json {
            print(&json!({ "key": key, "result": result, "bytes": bytes, "reason": reason }))?;
        } else if result == Warmth::Failed {
            progress.say(&format!("failed: {key}: {reason}"));
        }
        if let Some(journal) = journal.as_mut().filter(|_| result != Warmth::Failed) {
            journal.note(&key)?;
        }
    }
    let took = progress.elapsed();
    drop(progress);
    let text = sums.text(left_out.get(), took, arguments.json);
    if sums.of(Warmth::Failed) == 0 {
        return Ok(text);
    }
    print(&text.trim_end())?;
    Err(AdminError::Incomplete(format!(
        "{} could not be fetched",
        counted(sums.of(Warmth::Failed), "object")
    )))
}

/// Returns the keys that the command line names, and their number if that is known before.
async fn keys<'a>(
    client: &'a AdminClient,
    arguments: &'a WarmArguments,
) -> Result<(Keys<'a>, Option<u64>), AdminError> {
    if let Some(url) = &arguments.objects.sitemap {
        let pages = sitemap::pages(url).await;
        let pages = pages.map_err(|(url, reason)| AdminError::Sitemap { url, reason })?;
        let total = pages.len() as u64;
        return Ok((routed(client, &arguments.bucket, pages), Some(total)));
    }
    match (&arguments.objects.from, &arguments.objects.prefix) {
        (Some(file), _) if file.as_os_str() == "-" => Ok((lines(BufReader::new(stdin()), file), None)),
        (Some(file), _) => {
            let open =
                || File::open(file).map(BufReader::new).map_err(|error| of_file("--from", file, &error));
            let total = open()?.lines().map_while(Result::ok).filter(|line| !line.is_empty()).count();
            Ok((lines(open()?, file), Some(total as u64)))
        }
        (None, prefix) => {
            Ok((listed(client, &arguments.bucket, prefix.as_deref().unwrap_or_default()), None))
        }
    }
}

/// Reads keys, one a line, in a thread: standard input may take its time.
fn lines(file: impl BufRead + Send + 'static, name: &Path) -> Keys<'static> {
    let (keys, read) = mpsc::channel(AHEAD);
    let name = name.to_owned();
    spawn_blocking(move || {
        for line in file.lines() {
            let key = match line {
                Ok(line) if line.is_empty() => continue,
                Ok(line) => Ok(wanted(line)),
                Err(error) => Err(of_file("--from", &name, &error)),
            };
            // Nobody reads on after an error.
            if keys.blocking_send(key).is_err() {
                return;
            }
        }
    });
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
        Explanation { bucket: Some(found), key: Some(key), .. } if found.is == bucket => {
            return Ok(wanted(key.is));
        }
        Explanation { bucket: Some(found), .. } => format!("it is of the bucket {}", found.is),
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
        let Wanted { key, missing: None } = key? else { continue };
        count += 1;
        if as_json { print(&json!({ "key": key }))? } else { print(&key)? }
    }
    Ok(if as_json { String::new() } else { format!("{} would be fetched\n", counted(count, "object")) })
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
            counted(self.0.iter().map(|(objects, _)| objects).sum(), "object"),
            took.as_secs_f64(),
            size(bytes),
        );
        if left_out > 0 {
            let _ = write!(text, "; {left_out} left out, which the journal has");
        }
        text + "\n"
    }
}

/// A file of the keys that are done, each a line of JSON, because a key may have line breaks.
#[derive(Debug)]
struct Journal {
    file: File,
    name: PathBuf,
}

impl Journal {
    /// Opens or makes the file. Returns the keys that it has.
    fn open(name: &Path) -> Result<(Self, HashSet<String>), AdminError> {
        let unusable = |error: std::io::Error| of_file("--journal", name, &error);
        let mut done = HashSet::new();
        match File::open(name) {
            Ok(file) => {
                for line in BufReader::new(file).lines() {
                    // The last line may have been cut off: its object is fetched again.
                    done.extend(serde_json::from_str::<String>(&line.map_err(unusable)?));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(error)),
        }
        let file = OpenOptions::new().append(true).create(true).open(name).map_err(unusable)?;
        Ok((Self { file, name: name.to_owned() }, done))
    }

    fn note(&mut self, key: &str) -> Result<(), AdminError> {
        let line = format!("{}\n", Value::from(key));
        self.file.write_all(line.as_bytes()).map_err(|error| of_file("--journal", &self.name, &error))
    }
}

fn of_file(option: &'static str, file: &Path, error: &std::io::Error) -> AdminError {
    AdminError::File { option, file: file.display().to_string(), reason: error.to_string() }
}
