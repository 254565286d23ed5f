//! Runs the tasks that answer HTTP/2 streams, and ends those of streams that are cut.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use hyper::rt::Executor;

use crate::connection::state::ConnectionState;

/// Spawns the tasks of one connection's streams.
#[derive(Debug, Clone)]
pub(super) struct StreamExecutor(pub(super) Arc<ConnectionState>);

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    #[expect(clippy::disallowed_methods, reason = "ends with its stream, or with the connection")]
    fn execute(&self, task: F) {
        let Some(stream) = self.0.streams().and_then(|streams| streams.begun().take()) else {
            tokio::spawn(task);
            return;
        };
        tokio::spawn(async move {
            let mut task = pin!(task);
            // Dropping the task resets the stream.
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = stream.until_cut() => {}
            }
        });
    }
}
