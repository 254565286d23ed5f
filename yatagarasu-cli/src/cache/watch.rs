//! `cache stats --watch`: prints the statistics at an interval, in place on a terminal.

use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::client::AdminClient;
use super::error::AdminError;
use super::progress::say;
use super::stats::Form;

/// Moves to the upper left corner.
const HOME: &str = "\u{1b}[H";
/// Clears to the end of the line, and of the screen.
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Prints the statistics every `seconds`. Returns when the output is closed.
pub(super) async fn run(
    client: &AdminClient,
    bucket: Option<&str>,
    form: Form,
    seconds: u32,
) -> Result<(), AdminError> {
    let mut ticks = interval(Duration::from_secs(seconds.into()));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let in_place = stdout().is_terminal() && form != Form::Json;
    if in_place && write("\u{1b}[2J").is_err() {
        return Ok(());
    }
    let mut was_reached = false;
    loop {
        ticks.tick().await;
        let mut stats = match client.stats().await {
            // The server may be restarted meanwhile.
            Err(error @ AdminError::Unreachable { .. }) if was_reached => {
                say(&format!("{error}; trying again"));
                continue;
            }
            asked => asked?,
        };
        was_reached = true;
        if let Some(bucket) = bucket {
            stats = stats.only(bucket)?;
        }
        let text = match form {
            // One document a line, for programs that read lines.
            Form::Json => stats.json_line(),
            Form::Table | Form::WideTable => stats.rendered(form),
        };
        let text = if in_place {
            format!("{HOME}{}{CLEAR_BELOW}", text.replace('\n', &format!("{CLEAR_LINE}\n")))
        } else if form == Form::Json {
            text
        } else {
            format!("{text}\n")
        };
        if write(&text).is_err() {
            return Ok(());
        }
    }
}

fn write(text: &str) -> std::io::Result<()> {
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
