//! The `demo` command: an S3 server in the process, and the gateway in front of it.

mod announcement;
mod content;
mod examples;
mod files;
mod located;
mod s3;
mod samples;
mod settings;
mod sidecars;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;

use tokio::net::TcpListener;
use yatagarasu_server::signals::{Ignored, Signals};
use yatagarasu_server::telemetry::log::{FilterError, Format, Log};
use yatagarasu_server::{Config, Server, StartError};
use yatagarasu_sys::process::ignores_hangup;

use crate::args::DemoArguments;
use crate::stdout;

use announcement::Announcement;
use content::Content;
use files::ReadOnlyFiles;
use s3::{Keys, S3Server};

/// What is printed last.
const STOPPED: &str = "stopped\n";

/// Why the demo does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The log filter is none.
    #[error("{0}")]
    Log(FilterError),
    /// The folder to serve is none.
    #[error("--dir: {} is not a folder that can be read", .dir.display())]
    Folder {
        /// What was given.
        dir: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The options together make no configuration.
    #[error("{0}")]
    Settings(String),
    /// An address cannot be listened on.
    #[error("{cause} (set it with {option})")]
    Address {
        /// The option that names it.
        option: &'static str,
        /// Why.
        cause: StartError,
    },
    /// The gateway does not start for another reason.
    #[error("{0}")]
    Gateway(StartError),
    /// There is no port for the S3 server.
    #[error("the S3 server of the demo cannot listen on a port of its own")]
    S3(#[source] io::Error),
    /// The temporary folder cannot be made or removed.
    #[error("the temporary folder of the demo cannot be {doing}")]
    Content {
        /// What was being done to it.
        doing: &'static str,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    /// Nothing can be said.
    #[error("{}", stdout::FAILED)]
    Stdout(#[source] io::Error),
}

/// Runs the demo until SIGINT, SIGTERM or the end of its terminal, and leaves nothing behind.
pub(crate) async fn run(arguments: &DemoArguments) -> Result<(), DemoError> {
    let _log = Log::start(&arguments.log, Format::Text).map_err(DemoError::Log)?;
    serve(arguments).await
}

async fn serve(arguments: &DemoArguments) -> Result<(), DemoError> {
    let mut signals = Signals::listen().map_err(DemoError::Signals)?;
    let outlives_terminal = ignores_hangup();
    let mut ignored = Ignored::listen().map_err(DemoError::Signals)?;
    let stop = async {
        tokio::select! {
            () = signals.next() => {}
            () = ignored.hangup(), if !outlives_terminal => {}
        }
    };
    let mut stop = pin!(stop);
    let demo = tokio::select! {
        () = &mut stop => return stdout::print(STOPPED).map_err(DemoError::Stdout),
        started = Demo::start(arguments) => started?,
    };
    stdout::print(&demo.announcement().to_string()).map_err(DemoError::Stdout)?;
    let Demo { gateway, s3, content, .. } = demo;
    if !gateway.run(stop).await {
        tracing::warn!("responses were still running and have been cut off");
    }
    drop(s3);
    content.remove().map_err(|cause| DemoError::Content { doing: "removed", cause })?;
    stdout::print(STOPPED).map_err(DemoError::Stdout)
}

/// Everything that runs.
struct Demo {
    config: Config,
    gateway: Server,
    s3: S3Server,
    s3_address: SocketAddr,
    content: Content,
}

impl Demo {
    /// Takes the ports, then makes the files, which takes a moment.
    async fn start(arguments: &DemoArguments) -> Result<Self, DemoError> {
        if let Some(dir) = &arguments.dir {
            std::fs::read_dir(dir).map_err(|cause| DemoError::Folder { dir: dir.clone(), cause })?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::S3)?;
        let s3_address = listener.local_addr().map_err(DemoError::S3)?;
        let keys = Keys::random();
        let config = settings::config(arguments, s3_address, &keys)?;
        let gateway = Server::start(&config).await.map_err(not_started)?;
        let unmade = |cause| DemoError::Content { doing: "made", cause };
        let dir = arguments.dir.clone();
        let content = tokio::task::spawn_blocking(move || Content::prepare(dir.as_deref()));
        let content = content.await.expect("making files does not panic").map_err(unmade)?;
        let files = ReadOnlyFiles::new(content.root(), content.objects()).map_err(unmade)?;
        let s3 = S3Server::start(listener, files, &keys);
        Ok(Self { config, gateway, s3, s3_address, content })
    }

    fn announcement(&self) -> Announcement<'_> {
        Announcement {
            gateway: self.gateway.address(),
            admin: self.gateway.admin_address(),
            s3: self.s3_address,
            content: &self.content,
            token: self.config.admin.token.as_ref(),
            program: std::env::args_os()
                .next()
                .map_or("yatagarasu".to_owned(), |program| program.to_string_lossy().into_owned()),
        }
    }
}

fn not_started(error: StartError) -> DemoError {
    match error {
        StartError::Bind { key, .. } => DemoError::Address { option: settings::option(key), cause: error },
        StartError::Source { .. } | StartError::Cache { .. } | StartError::Thread(_) => {
            DemoError::Gateway(error)
        }
    }
}
