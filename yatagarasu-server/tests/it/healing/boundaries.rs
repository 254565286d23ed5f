//! Bodies that break off at the boundaries of the pieces in which they are read and stored.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::sleep;
use yatagarasu_testing::client::Connection;
use yatagarasu_testing::origin::{Fault, Origin, Version};

use super::resume::{PIECE, content, first};
use crate::site::Site;

/// How often an answer breaks off at a boundary.
const TIMES: [usize; 3] = [1, 2, usize::MAX];

/// Number of clients that ask for an object at the same time.
const CLIENTS: [usize; 3] = [1, 8, 64];

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Fast,
    /// With a pause after each of its reads.
    Slow,
}

/// Asks for an object. Returns `true` if it arrives whole, and `false` if the connection breaks.
async fn read(address: SocketAddr, path: String, content: Bytes, pace: Pace) -> bool {
    let mut client = Connection::get(address, &path).await;
    let head = client.head().await;
    if head.status != 200 {
        assert_eq!(head.status, 502, "{path}");
        return false;
    }
    let mut rest = &content[..];
    while !rest.is_empty() {
        let Ok(bytes) = client.arrived(PIECE).await else { return false };
        if bytes.is_empty() {
            return false;
        }
        assert!(rest.starts_with(&bytes), "{path}: wrong bytes, {} before the end", rest.len());
        rest = &rest[bytes.len()..];
        if pace == Pace::Slow {
            sleep(Duration::from_millis(1)).await;
        }
    }
    true
}

/// One object that breaks off at the byte `at`.
#[derive(Debug)]
struct Case<'a> {
    prefix: &'a str,
    content: &'a Bytes,
    at: usize,
    times: usize,
    clients: usize,
}

impl Case<'_> {
    /// Answers all keys with the object. Each answer that begins before the byte `at` breaks off there, for the first
    /// `times` times for each key.
    fn cut(&self, origin: &Origin, tag: &str) {
        let Self { at, times, .. } = *self;
        let (version, counts) = (Version::new(tag, self.content.clone()), Mutex::<HashMap<_, _>>::default());
        let fault = if (at / PIECE).is_multiple_of(3) { Fault::Cut } else { Fault::Reset };
        origin.decide(move |request| {
            let (reply, first) = (version.answer(request), first(request));
            if first > at {
                return Some(reply);
            }
            let mut counts = counts.lock().unwrap();
            let count: &mut usize = counts.entry(request.key.clone()).or_default();
            *count += 1;
            Some(if *count <= times { reply.failing(fault(at - first)) } else { reply })
        });
    }

    async fn check(&self, site: &Site) {
        let Self { prefix, content, at, times, clients } = *self;
        let tag = format!("{at}-{times}-{clients}");
        self.cut(&site.origin, &tag);
        let mut reading = JoinSet::new();
        for number in 0..clients {
            let pace = if number % 2 == 0 { Pace::Fast } else { Pace::Slow };
            // Streams do not share a request: each breaks off as often.
            let key = if prefix == "media" { format!("{tag}-{number}") } else { tag.clone() };
            reading.spawn(read(site.address, format!("/{prefix}/{key}"), content.clone(), pace));
        }
        let whole = reading.join_all().await.into_iter().filter(|whole| *whole).count();
        let expected = if times == usize::MAX { 0 } else { clients };
        assert_eq!(whole, expected, "{prefix}, {} bytes: {tag}", content.len());
    }
}

/// By default a few boundaries are tried. With `YATAGARASU_EVERY_BOUNDARY` in the environment it is every one, which
/// takes minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_boundary_makes_a_body_short_or_wrong() {
    let all = std::env::var_os("YATAGARASU_EVERY_BOUNDARY").is_some();
    for (length, prefix) in
        [(5 << 20, "static"), (5 << 20, "media"), (64 << 20, "static"), (64 << 20, "media")]
    {
        let content = content(length);
        let is_small = length == 5 << 20;
        let stride = match (all, is_small) {
            (true, _) => 1,
            (false, true) => 9,
            (false, false) => 700,
        };
        for (number, at) in (0..length).step_by(PIECE * stride).enumerate() {
            let site = Site::healing("", "max_item_size: \"64MiB\", max_size: \"200MB\"").await;
            for (of_times, times) in TIMES.into_iter().enumerate() {
                for (of_clients, clients) in CLIENTS.into_iter().enumerate() {
                    let turn = number % 3 == of_times && number / 3 % 3 == of_clients;
                    // A crowd of streams is a crowd of bodies that have nothing to do with each other.
                    let is_tried = match (all, is_small) {
                        (true, true) => prefix == "static" || clients < 64,
                        (true, false) => clients == 1 || (clients == 8 && number % 64 == 0),
                        (false, true) => turn && (prefix == "static" || clients < 64),
                        (false, false) => turn && clients == 1,
                    };
                    if is_tried {
                        Case { prefix, content: &content, at, times, clients }.check(&site).await;
                    }
                }
            }
        }
    }
}
