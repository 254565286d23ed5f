//! A load as fast as a proxy answers: each connection sends its next request once it has the previous response.

use std::sync::Arc;

use anyhow::Context;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Checking, Connection, Pick, Wanted, Window};

/// Requests objects of `wanted` at random over all connections until the window ends. Returns the number of responses
/// received within it.
pub(crate) async fn closed<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    connections: Vec<Connection<S>>,
    wanted: &Arc<[Wanted]>,
    window: Window,
) -> anyhow::Result<u64> {
    let mut clients = JoinSet::new();
    for (seed, connection) in connections.into_iter().enumerate() {
        clients.spawn(client(connection, Arc::clone(wanted), window, Pick::new(seed)));
    }
    let mut answers = 0;
    while let Some(ended) = clients.join_next().await {
        answers += ended.context("a client panicked")??;
    }
    Ok(answers)
}

async fn client<S: AsyncRead + AsyncWrite + Unpin>(
    mut connection: Connection<S>,
    wanted: Arc<[Wanted]>,
    window: Window,
    mut pick: Pick,
) -> anyhow::Result<u64> {
    let mut answers = 0;
    loop {
        connection.exchange(pick.of(&wanted), Checking::Length).await?;
        let now = Instant::now();
        if now >= window.end {
            return Ok(answers);
        }
        if window.holds(now) {
            answers += 1;
        }
    }
}
