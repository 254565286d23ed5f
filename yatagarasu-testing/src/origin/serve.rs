//! The listener of an origin, and its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use s3s::service::S3Service;
use tokio::io::{AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use super::script::Script;
use super::{Exchange, MemoryObjects, Request, s3};
use crate::message::read_head;

/// What the connections of an origin share with the test.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) objects: Arc<MemoryObjects>,
    pub(super) script: Script,
    pub(super) connections: AtomicU64,
    service: S3Service,
    by_hand: Option<UnboundedSender<Exchange>>,
}

impl Shared {
    /// Makes the state of an origin at `port`. If there is `by_hand`, it takes all requests.
    pub(super) fn new(port: u16, by_hand: Option<UnboundedSender<Exchange>>) -> Self {
        let objects = Arc::<MemoryObjects>::default();
        let service = s3::service(&objects, port);
        Self { objects, script: Script::default(), connections: AtomicU64::new(0), service, by_hand }
    }
}

/// Accepts connections for ever. Dropping the future ends them.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The source may close its connection at any time.
            let _ = serve(socket, &shared).await;
        });
    }
}

/// Answers the requests of one connection until either side closes it.
async fn serve(socket: TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut socket = BufReader::new(socket);
    while let Some(head) = read_head(&mut socket).await {
        let mut request = Request::parse(&head);
        if shared.by_hand.is_none() {
            request.body = read_body(&mut socket, &request).await?;
        }
        let reply = shared.script.arrive(&request);
        if let Some(hand) = &shared.by_hand {
            // The test may have ended.
            let _ = hand.send(Exchange::new(&head, socket));
            return Ok(());
        }
        match reply {
            None => s3::answer(&shared.service, &request, socket.get_mut()).await?,
            Some(reply) => {
                let ends = reply.ends_the_connection();
                reply.send(socket.get_mut(), &request.method).await?;
                if ends {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Reads the body of a request, which has a length or none.
async fn read_body(socket: &mut BufReader<TcpStream>, request: &Request) -> io::Result<Bytes> {
    let mut body = vec![0; request.field("content-length").parse().unwrap_or(0)];
    socket.read_exact(&mut body).await?;
    Ok(body.into())
}
