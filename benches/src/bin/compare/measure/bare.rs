//! What a hit costs beside a bare loop: epoll, recv, send of the same bytes, and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep_until;

use super::hits::{self, CONNECTIONS, Hits};
use super::log::silent;
use super::{SLACK, WARM, bounded, median_of};
use crate::bench::Bench;
use crate::case::Case;
use crate::load::{Connection, Wanted, Window, closed};
use crate::machine;
use crate::peer::Peer;
use crate::process::Running;
use crate::report::{Cell, Outcome};
use crate::statistics::real;

/// Rounds of the loop between two looks at its clock, which is a system call.
const ROUNDS: u32 = 64;

/// Measures hits of the server without an access log, in turn with a loop that sends the same bytes under the same load.
pub(super) async fn measure(bench: &Bench) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (case, key) in [(Case::Bare1k, "1k"), (Case::Bare10k, "10k")] {
        let Some(installed) = bench.peers.iter().find(|installed| installed.peer == Peer::Yatagarasu) else {
            continue;
        };
        let cell = match silent(bench, installed, &[key.to_owned()]).await {
            Ok(running) => compared(bench, &running, key).await,
            Err(error) => Err(error),
        };
        let cell = cell.unwrap_or_else(|error| Cell::Failed(format!("{error:#}")));
        outcomes.push(Outcome { case, cells: [(Peer::Yatagarasu, cell)].into() });
    }
    outcomes
}

async fn compared(bench: &Bench, running: &Running, key: &str) -> anyhow::Result<Cell> {
    let wanted: Arc<[Wanted]> = [Wanted::new(key)].into();
    let bare = Loop::start(whole_response(running.address, &wanted[0])?, bench.cores.proxy)?;
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..bench.samples {
        ours.push(bounded(bench, SLACK, hits::sample(bench, running, &wanted)).await?);
        bares.push(bounded(bench, SLACK, bare.sample(bench, &wanted)).await?);
    }
    let ours = median_of(&ours, Hits::cpu_us).context("no sample")?;
    let bare = median_of(&bares, |cpu_us| *cpu_us).context("no sample")?;
    let detail = format!("{ours:.2} us of CPU a hit, the loop {bare:.2}");
    Ok(Cell::Measured { value: ours / bare, detail })
}

/// Returns all bytes of the response to `wanted`.
fn whole_response(address: SocketAddr, wanted: &Wanted) -> anyhow::Result<Vec<u8>> {
    let mut client = TcpStream::connect(address).context("cannot connect")?;
    client.set_read_timeout(Some(Duration::from_secs(5))).context("a socket option cannot be set")?;
    client.write_all(&wanted.request).context("a request cannot be sent")?;
    let mut response = Vec::new();
    loop {
        let mut piece = [0; 16 * 1024];
        let read = client.read(&mut piece).context("no response")?;
        ensure!(read > 0, "the response broke off");
        response.extend_from_slice(&piece[..read]);
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        if end.is_some_and(|end| (response.len() - end - 4) as u64 >= wanted.object.length) {
            return Ok(response);
        }
    }
}

/// The loop, on a thread of its own. Dropping it ends it.
struct Loop {
    address: SocketAddr,
    /// CPU time of the thread in nanoseconds.
    cpu: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Loop {
    /// Starts to answer every request with `response`, on this core.
    fn start(response: Vec<u8>, core: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the loop cannot listen")?;
        listener.set_nonblocking(true).context("a socket option cannot be set")?;
        let address = listener.local_addr().context("the loop has no address")?;
        let (cpu, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, stopped) = (Arc::clone(&cpu), Arc::clone(&stop));
        let thread = thread::Builder::new().name("bare".to_owned()).spawn(move || {
            machine::pin(&[core])?;
            serve(&listener, &response, &counted, &stopped)
        });
        Ok(Self { address, cpu, stop, thread: Some(thread.context("a thread cannot be started")?) })
    }

    /// Returns the CPU time of one answer in microseconds.
    async fn sample(&self, bench: &Bench, wanted: &Arc<[Wanted]>) -> anyhow::Result<f64> {
        let connections = Connection::open_many(self.address, CONNECTIONS).await?;
        let window = Window::after(WARM, bench.duration);
        let spent = async {
            sleep_until(window.begin).await;
            let before = self.cpu.load(Ordering::Relaxed);
            sleep_until(window.end).await;
            self.cpu.load(Ordering::Relaxed) - before
        };
        let (answers, spent) = tokio::join!(closed(connections, wanted, window), spent);
        Ok(real(spent) / 1e3 / real(answers?.max(1)))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take()
            && !matches!(thread.join(), Ok(Ok(())))
        {
            eprintln!("the bare loop had failed");
        }
    }
}

fn serve(listener: &TcpListener, response: &[u8], cpu: &AtomicU64, stop: &AtomicBool) -> anyhow::Result<()> {
    const LISTENER: u64 = u64::MAX;
    let epoll = epoll::create(CreateFlags::CLOEXEC).context("there is no epoll")?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN).context("no events")?;
    let (mut clients, mut events, mut room, mut rounds) =
        (Vec::<Option<TcpStream>>::new(), Vec::with_capacity(256), vec![0; 16 * 1024], 0_u32);
    while !stop.load(Ordering::Relaxed) {
        epoll::wait(&epoll, spare_capacity(&mut events), None).context("no events")?;
        for event in events.drain(..) {
            if event.data.u64() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    client.set_nonblocking(true).context("a socket option cannot be set")?;
                    client.set_nodelay(true).context("a socket option cannot be set")?;
                    let place = EventData::new_u64(clients.len() as u64);
                    epoll::add(&epoll, &client, place, EventFlags::IN).context("no events")?;
                    clients.push(Some(client));
                }
                continue;
            }
            let place = usize::try_from(event.data.u64()).expect("as many clients as there may be");
            let Some(client) = &mut clients[place] else { continue };
            // Each request arrives whole, and the client's socket has room for a response.
            match client.read(&mut room) {
                Ok(1..) if client.write_all(response).is_ok() => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => clients[place] = None,
            }
        }
        rounds += 1;
        if rounds.is_multiple_of(ROUNDS) {
            let now = clock_gettime(ClockId::ThreadCPUTime);
            let nanos = u64::try_from(now.tv_sec * 1_000_000_000 + now.tv_nsec).unwrap_or_default();
            cpu.store(nanos, Ordering::Relaxed);
        }
    }
    Ok(())
}
