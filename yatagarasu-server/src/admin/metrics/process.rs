//! Metrics of the process.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use yatagarasu_sys::process::usage;

use crate::admin::metrics::Metered;
use crate::admin::metrics::families::Families;
use crate::server::event_queue::{QueueRead, RESULTS};
use crate::telemetry::log::panics;
use crate::telemetry::log::queue::lines_dropped;

pub(super) fn write(families: &mut Families<'_>, metered: &Metered) -> fmt::Result {
    families.counter("log_lines_dropped", "Log lines that could not be written.", lines_dropped())?;
    let help = "Faults of this program, each of which has ended a request.";
    families.counter("panics", help, panics())?;
    if let Some(history) = metered.reloader.as_ref().map(|reloader| reloader.history()) {
        let results = [("success", history.succeeded), ("failure", history.failed)];
        let reloads = results.map(|(result, count)| ([("result", result)], count));
        families.counters("config_reloads", "Reloads of the configuration.", reloads)?;
        let help = "0 if the latest reload failed, else 1.";
        families.gauge("config_last_reload_successful", help, u64::from(history.is_well))?;
        let help = "When the configuration that runs was loaded.";
        families.gauge("config_loaded_timestamp_seconds", help, history.loaded_at)?;
    }
    if let Some(QueueRead { messages, failures }) = metered.queue {
        let messages = RESULTS.iter().zip(messages).map(|(result, count)| ([("result", *result)], count));
        families.counters("event_queue_messages", "Messages of the queue of `events.sqs`.", messages)?;
        let help = "Requests to the queue of `events.sqs` that failed.";
        families.counter("event_queue_failures", help, failures)?;
    }
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    families.info("build", "The version of the program.", &version)
}

/// The metrics that processes have in common.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let Some(usage) = usage() else { return Ok(()) };
        families.seconds("process_cpu", "Processor time in user and system mode.", usage.cpu)?;
        families.gauge("process_resident_memory_bytes", "Resident memory.", usage.resident_bytes)?;
        families.gauge("process_virtual_memory_bytes", "Virtual memory.", usage.virtual_bytes)?;
        families.gauge("process_threads", "Threads.", usage.threads)?;
        families.gauge("process_open_fds", "Open files.", usage.open_files)?;
        if let Some(max) = usage.open_files_max {
            families.gauge("process_max_fds", "Limit of open files.", max)?;
        }
        let help = "Start of the process, in seconds of Unix time.";
        families.gauge("process_start_time_seconds", help, usage.started_at)
    }
}
