//! Compresses stored objects, one after the other, on a thread that all others go before.
//!
//! The thread is started with the first job, and ends with the last gateway. [`codecs`] has the codings.

#[cfg(feature = "compression")]
mod codecs;

#[cfg(feature = "compression")]
pub(crate) use background::BackgroundCompressor as Background;

/// Whether stored objects can be compressed by this build.
pub(crate) const IS_COMPILED: bool = cfg!(feature = "compression");

/// Without the feature nothing is compressed.
#[cfg(not(feature = "compression"))]
pub(crate) type Background = yatagarasu_core::caching::compression::NoCompressor;

#[cfg(feature = "compression")]
mod background {
    //! The thread and its queue.

    use std::sync::OnceLock;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;

    use yatagarasu_core::caching::compression::{CompressionJob, Compressor};
    use yatagarasu_sys::process::yield_to_other_threads;

    use crate::compression::codecs::compressed;

    /// Maximum number of jobs that wait. Further ones come again with the next request for their object.
    const WAITING_MAX: usize = 64;

    /// Compresses in the background.
    #[derive(Debug, Default)]
    pub(crate) struct BackgroundCompressor {
        /// `None` if the thread could not be started.
        jobs: OnceLock<Option<SyncSender<CompressionJob>>>,
    }

    impl Compressor for BackgroundCompressor {
        fn take(&self, job: CompressionJob) -> bool {
            let jobs = self.jobs.get_or_init(start);
            jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok())
        }
    }

    fn start() -> Option<SyncSender<CompressionJob>> {
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let started = thread::Builder::new().name("compression".to_owned()).spawn(move || work(&receiver));
        match started {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::error!(%error, "nothing is compressed, because no thread can be started for it");
                None
            }
        }
    }

    /// Takes jobs until nobody can send any more.
    fn work(jobs: &Receiver<CompressionJob>) {
        yield_to_other_threads();
        while let Ok(CompressionJob { coding, content, done }) = jobs.recv() {
            if let Some(content) = content() {
                done(compressed(&content, coding));
            }
        }
    }
}
