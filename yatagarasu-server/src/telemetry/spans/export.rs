//! Sends spans to a collector, by OTLP over HTTP.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, Uri};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use yatagarasu_core::{LogLimit, innermost};
use yatagarasu_s3::https::HttpsClient;

use super::{Counts, EXPORTED, FAILED};

/// Maximum number of spans that wait. Further ones are dropped. Each takes 4 KiB at most.
const WAITING_MAX: usize = 2048;

/// Maximum number of spans in a request to the collector.
const BATCH_MAX: usize = 512;

/// How long a span waits for others.
const PAUSE: Duration = Duration::from_secs(1);

/// Time limit for a request to the collector.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for a request and the attempts after it.
const ATTEMPTS_TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for the last requests to it.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum size of an answer of the collector, in bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The path for traces, if the URL has none (OpenTelemetry Protocol Exporter, Endpoint URLs for OTLP/HTTP).
const PATH: &str = "/v1/traces";

/// Nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoExporter {
    /// The library does not take the settings, or those in the environment.
    #[error(transparent)]
    Settings(#[from] ExporterBuildError),
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// The task that sends spans, until it is told to finish.
#[derive(Debug)]
pub(super) struct Exporting(Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>);

impl Exporting {
    /// Sends the spans that wait, if the collector takes them soon.
    pub(super) async fn finish(&self) {
        let taken = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some((told, mut task)) = taken {
            let _ = told.send(());
            if timeout(LAST_TIMEOUT, &mut task).await.is_err() {
                task.abort();
                tracing::warn!("the collector has not taken the last traces in time (`tracing.endpoint`)");
            }
        }
    }
}

/// Starts a task that sends the spans in the returned queue to the collector at `url`.
pub(super) fn start(
    url: &str,
    service: &str,
    counts: &Arc<Counts>,
) -> Result<(Sender<SpanData>, Exporting), NoExporter> {
    let is_bare = url.parse::<Uri>().is_ok_and(|uri| uri.path() == "/");
    let endpoint = if is_bare { format!("{}{PATH}", url.trim_end_matches('/')) } else { url.to_owned() };
    let client = HttpsClient::new(endpoint.starts_with("https:"), TIMEOUT, ANSWER_BYTES_MAX)?;
    let failure = Failure::default();
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { client, failure: Arc::clone(&failure) })
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(ATTEMPTS_TIMEOUT)
        .with_endpoint(endpoint)
        .build()?;
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{:016x}", fastrand::u64(..))),
    ];
    let resource = Resource::builder().with_attributes(attributes).with_service_name(service.to_owned());
    exporter.set_resource(&resource.build());
    let ((queue, waiting), (told, is_told)) = (channel(WAITING_MAX), oneshot::channel());
    #[expect(clippy::disallowed_methods, reason = "`Exporting::finish` ends it, or the queue's end does")]
    let task = tokio::spawn(run(exporter, waiting, is_told, Arc::clone(counts), failure));
    Ok((queue, Exporting(Mutex::new(Some((told, task))))))
}

async fn run(
    exporter: SpanExporter,
    mut waiting: Receiver<SpanData>,
    mut is_told: oneshot::Receiver<()>,
    counts: Arc<Counts>,
    failure: Failure,
) {
    let log = LogLimit::default();
    loop {
        let mut batch = Vec::new();
        let is_last = gather(&mut waiting, &mut batch, &mut is_told).await;
        if is_last {
            waiting.close();
            while let Ok(span) = waiting.try_recv() {
                batch.push(span);
            }
        }
        while !batch.is_empty() {
            let rest = batch.split_off(batch.len().min(BATCH_MAX));
            let count = batch.len() as u64;
            let sent = exporter.export(mem::replace(&mut batch, rest)).await;
            let result = if sent.is_ok() { EXPORTED } else { FAILED };
            counts.add(result, count);
            if let (Err(error), Some(failures)) = (sent, log.due()) {
                let reason = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                let error = reason.unwrap_or_else(|| error.to_string());
                tracing::warn!(error, failures, "traces cannot be sent (`tracing.endpoint`)");
            }
        }
        if is_last {
            return;
        }
    }
}

/// Waits for spans until there are as many as a request has, or the first one has waited long enough. Returns `true` if there
/// will be no more.
async fn gather(
    waiting: &mut Receiver<SpanData>,
    batch: &mut Vec<SpanData>,
    is_told: &mut oneshot::Receiver<()>,
) -> bool {
    tokio::select! {
        _ = &mut *is_told => return true,
        received = waiting.recv_many(batch, BATCH_MAX) => if received == 0 { return true },
    }
    let due = Instant::now() + PAUSE;
    while batch.len() < BATCH_MAX {
        let room = BATCH_MAX - batch.len();
        tokio::select! {
            _ = &mut *is_told => return true,
            received = timeout_at(due, waiting.recv_many(batch, room)) => match received {
                Err(_) => return false,
                Ok(0) => return true,
                Ok(_) => {}
            },
        }
    }
    false
}

/// The collector, as the library reaches it.
#[derive(Debug)]
struct Collector {
    client: HttpsClient,
    /// Why the latest request failed without a response. The library keeps that to itself.
    failure: Failure,
}

type Failure = Arc<Mutex<Option<String>>>;

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.client.send(request).await;
        let failure = sent.as_ref().err().map(|error| innermost(&**error));
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        sent
    }
}
