//! `yatagarasu explain`: says what a request would get, and why.
//!
//! A running server is asked over its admin API. With `--config` the answer comes from the file, as if the server had just
//! started. S3 is asked nothing either way.

use std::fmt::Write;

use yatagarasu_server::Config;
use yatagarasu_server::build::{StartError, buckets_of};
use yatagarasu_server::config::{ConfigErrors, Environment};
use yatagarasu_server::service::explain::{Asked, Explanation, Finding, RuleFile, Sent, Stored, explain};

use crate::args::ExplainArguments;
use crate::cache::client::AdminClient;
use crate::cache::error::AdminError;
use crate::words::shown as without_orders;

/// An error of the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExplainError {
    /// The configuration is invalid.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
    /// No server starts with the configuration.
    #[error(transparent)]
    NotStarted(#[from] StartError),
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It is no request.
    #[error("{0}")]
    NoRequest(String),
}

/// Runs the command. Returns the text to print.
pub(crate) async fn run(arguments: &ExplainArguments) -> Result<String, ExplainError> {
    let ExplainArguments { url, method, headers, config, json, server } = arguments;
    let asked = Asked { url: url.clone(), method: method.clone(), headers: headers.clone() };
    let explanation = match config {
        Some(file) => {
            let config = Config::load(file, &Environment::of_process())?;
            let buckets = buckets_of(&config).await?;
            let mut explanation =
                explain(&asked, config.server.listeners.iter(), &buckets).map_err(ExplainError::NoRequest)?;
            explanation
                .notes
                .push("from the file: nothing is stored yet, and no rules of a website are known".to_owned());
            explanation
        }
        None => AdminClient::new(server)?.explain(&asked).await?,
    };
    Ok(if *json {
        let text = serde_json::to_string_pretty(&explanation).expect("its keys are texts");
        text + "\n"
    } else {
        shown(&explanation)
    })
}

/// Width of the names on the left.
const WIDTH: usize = 10;

/// Returns the explanation as lines with a name each.
fn shown(explanation: &Explanation) -> String {
    let Explanation {
        request,
        listener,
        bucket,
        key,
        decision,
        status,
        location,
        stored,
        s3,
        lifetime,
        rules,
        notes,
    } = explanation;
    let mut text = format!("{}\n\n", without_orders(request));
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:WIDTH$}{}", without_orders(value)).expect("a string takes what is written");
    };
    for (name, finding) in [("listener", listener), ("bucket", bucket), ("key", key)] {
        if let Some(Finding { is, because }) = finding {
            line(name, &format!("{is}  ({because})"));
        }
    }
    line("decision", &format!("{}  ({})", decision.is, decision.because));
    if let Some(status) = status {
        line("status", &status.to_string());
    }
    if let Some(location) = location {
        line("leads to", location);
    }
    if let Some(stored) = stored {
        line("stored", &stored_line(stored));
    }
    if let Some(Sent { method, url, headers }) = s3 {
        line("S3", &format!("{method} {url}"));
        for (name, value) in headers {
            line("", &format!("{name}: {value}"));
        }
    }
    if let Some(Finding { is, because }) = lifetime {
        line("lifetime", &format!("{is}  ({because})"));
    }
    for file in rules {
        for (index, said) in rule_lines(file).iter().enumerate() {
            line(if index == 0 { "rules" } else { "" }, said);
        }
    }
    for note in notes {
        line("note", note);
    }
    text
}

/// Returns what is known of an object with rules.
fn rule_lines(file: &RuleFile) -> Vec<String> {
    let RuleFile { key, rules, matching, left_out, more_left_out, endless } = file;
    let numbers = |lines: &[usize]| lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let count = rules.map_or("not read yet".to_owned(), |rules| format!("{rules} rules"));
    let for_path = match matching.as_slice() {
        [] => String::new(),
        lines => format!(", for the path: line {}", numbers(lines)),
    };
    let mut said = vec![format!("{key}: {count}{for_path}")];
    said.extend(left_out.iter().map(|(number, reason)| format!("line {number} is left out: {reason}")));
    if *more_left_out > 0 {
        said.push(format!("{more_left_out} further lines are left out"));
    }
    if !endless.is_empty() {
        let lines = numbers(endless);
        said.push(format!("redirects that lead on and on where there are no objects: line {lines}"));
    }
    said
}

fn stored_line(stored: &Stored) -> String {
    let Stored {
        content,
        bytes,
        age,
        fresh_for,
        stale_for,
        lifetime,
        stale_while_revalidate,
        stale_if_error,
    } = stored;
    let fresh = match (fresh_for, stale_for) {
        (Some(rest), _) => format!("fresh for {rest} s more"),
        (None, Some(since)) => format!("stale for {since} s"),
        (None, None) => "of unknown freshness".to_owned(),
    };
    let mut text = format!("{content}, {bytes} bytes, {age} s old, {fresh} (lifetime {lifetime} s)");
    for (window, when) in
        [(stale_while_revalidate, "while it is revalidated"), (stale_if_error, "if S3 fails")]
    {
        if *window > 0 {
            write!(text, ", served stale for {window} s {when}").expect("a string takes what is written");
        }
    }
    text
}

/// Parses `Name: value`, as curl takes it.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
