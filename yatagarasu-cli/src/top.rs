//! `top`: what a server does, live on a terminal.
//!
//! The server sends a [`snapshot`] of its totals each second. [`history`] keeps those of the last minutes and computes rates,
//! ratios and quantiles from their differences, and [`view`] draws them.

mod history;
mod snapshot;
mod view;

use std::io::{IsTerminal, stdin, stdout};
use std::thread;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::sleep;

use crate::args::AdminArguments;
use crate::cache::client::{AdminClient, Events};
use crate::cache::error::AdminError;
use history::History;
use snapshot::Snapshot;

/// Time until a lost connection is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// An error of the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    /// There is no terminal to draw on.
    #[error("top needs a terminal: use `yatagarasu cache stats --watch`, or the metrics")]
    NoTerminal,
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The terminal cannot be drawn on.
    #[error("the terminal cannot be drawn on")]
    Terminal(#[source] std::io::Error),
}

/// Shows a server's state until the user quits.
pub(crate) async fn run(server: &AdminArguments) -> Result<(), TopError> {
    if !stdin().is_terminal() || !stdout().is_terminal() {
        return Err(TopError::NoTerminal);
    }
    let client = AdminClient::new(server)?;
    // Connects first, so that errors appear on the normal screen.
    let events = client.live().await?;
    let mut terminal = ratatui::try_init().map_err(TopError::Terminal)?;
    let keys = keys();
    let url = client.shown().to_owned();
    let shown = show(&mut terminal, Connection { client, events: Some(events) }, keys, &url).await;
    ratatui::restore();
    shown
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut connection: Connection,
    mut keys: UnboundedReceiver<Key>,
    url: &str,
) -> Result<(), TopError> {
    let style = view::Style::of_environment();
    let mut history = History::default();
    loop {
        let is_lost = connection.events.is_none();
        terminal
            .draw(|frame| view::draw(frame, &history, url, is_lost, style))
            .map_err(TopError::Terminal)?;
        tokio::select! {
            snapshot = connection.next() => {
                if let Some(snapshot) = snapshot? {
                    history.add(snapshot);
                }
            }
            key = keys.recv() => match key {
                Some(Key::Redraw) => {}
                Some(Key::Quit) | None => return Ok(()),
            },
        }
    }
}

/// A connection to a server, which may be restarted meanwhile.
struct Connection {
    client: AdminClient,
    /// `None` if the connection is lost.
    events: Option<Events>,
}

impl Connection {
    /// Waits for the next snapshot. Returns `None` if the connection is lost or was restored.
    ///
    /// # Cancel safety
    ///
    /// No snapshot is lost if the future is dropped.
    async fn next(&mut self) -> Result<Option<Snapshot>, AdminError> {
        let Some(events) = &mut self.events else {
            sleep(AGAIN).await;
            self.events = match self.client.live().await {
                Err(AdminError::Unreachable { .. }) => None,
                connected => Some(connected?),
            };
            return Ok(None);
        };
        match events.next().await {
            Err(AdminError::Unreachable { .. }) => {
                self.events = None;
                Ok(None)
            }
            said => said.map(Some),
        }
    }
}

/// A key press, as a command.
enum Key {
    Quit,
    /// The window has another size.
    Redraw,
}

/// Reads keys on a thread of its own, because that blocks. It ends with the process.
fn keys() -> UnboundedReceiver<Key> {
    let (send, keys) = unbounded_channel();
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            let key = match event {
                Event::Key(key) if key.kind == KeyEventKind::Press => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
                        KeyCode::Char('c') if control => Key::Quit,
                        _ => continue,
                    }
                }
                Event::Resize(..) => Key::Redraw,
                _ => continue,
            };
            if send.send(key).is_err() {
                return;
            }
        }
    });
    keys
}
