//! `yatagarasu bucket check`: finds out whether buckets can be read, and says what to do if not.
//!
//! A running server is asked over its admin API. With `--config` this process asks S3 itself, with its own environment.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use yatagarasu_core::ObjectKey;
use yatagarasu_server::Config;
use yatagarasu_server::bucket_check::{Report, Verdict, check_all};
use yatagarasu_server::build::{StartError, buckets_of};
use yatagarasu_server::config::{ConfigErrors, Environment};

use crate::args::CheckArguments;
use crate::cache::client::AdminClient;
use crate::cache::error::AdminError;
use crate::stdout;
use crate::words::shown as without_orders;

/// An error of the command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketCheckError {
    /// The configuration is invalid.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
    /// No server starts with the configuration.
    #[error(transparent)]
    NotStarted(#[from] StartError),
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The configuration has no such bucket.
    #[error("there is no bucket `{bucket}` in the file; there are: {known}")]
    NoSuchBucket {
        /// The name that was given.
        bucket: String,
        /// The names there are.
        known: String,
    },
    /// It is no key.
    #[error("--key: {0}")]
    Key(String),
    /// The output cannot be written.
    #[error("{}", stdout::FAILED)]
    Output(#[source] std::io::Error),
}

/// The reports about all sources.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Reports {
    pub(crate) reports: Vec<Report>,
}

/// Runs the command, and prints what was found. Returns whether all buckets can be read.
pub(crate) async fn run(arguments: &CheckArguments) -> Result<bool, BucketCheckError> {
    let reports = if let Some(file) = &arguments.config {
        by_file(file, arguments).await?
    } else {
        let client = AdminClient::new(&arguments.server)?;
        client.check_buckets(arguments.bucket.as_deref(), arguments.key.as_deref()).await?
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&reports).expect("its keys are texts") + "\n"
    } else {
        reports.reports.iter().map(shown).collect::<Vec<_>>().join("\n")
    };
    stdout::print(&text).map_err(BucketCheckError::Output)?;
    Ok(!reports.reports.iter().any(Report::is_bad))
}

async fn by_file(file: &Path, arguments: &CheckArguments) -> Result<Reports, BucketCheckError> {
    let key = arguments.key.as_deref().map(ObjectKey::parse).transpose();
    let key = key.map_err(|error| BucketCheckError::Key(error.to_string()))?;
    let config = Config::load(file, &Environment::of_process())?;
    let buckets = buckets_of(&config).await?;
    let chosen = |name: &str| arguments.bucket.as_deref().is_none_or(|chosen| chosen == name);
    let chosen: Vec<_> = buckets.all().iter().filter(|bucket| chosen(&bucket.name)).cloned().collect();
    if let (Some(bucket), true) = (&arguments.bucket, chosen.is_empty()) {
        let known: Vec<_> = buckets.all().iter().map(|bucket| &*bucket.name).collect();
        return Err(BucketCheckError::NoSuchBucket { bucket: bucket.clone(), known: known.join(", ") });
    }
    Ok(Reports { reports: check_all(chosen, key).await })
}

/// Returns the findings about one source, one a line.
fn shown(report: &Report) -> String {
    let mut text = format!("{}  {}\n", without_orders(&report.bucket), without_orders(&report.url));
    for finding in &report.findings {
        let verdict = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Warning => "warning",
            Verdict::Bad => "FAILED",
            Verdict::Unknown => "unknown",
        };
        writeln!(
            text,
            "  {verdict:<8} {:<12} {}",
            without_orders(&finding.about),
            without_orders(&finding.found)
        )
        .expect("a string takes what is written");
        if let Some(advice) = &finding.advice {
            writeln!(text, "  {:<21} -> {}", "", without_orders(advice))
                .expect("a string takes what is written");
        }
    }
    text
}
