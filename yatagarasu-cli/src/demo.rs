//! The `demo` command: runs an S3 server in this process and the gateway in front of it.
//!
//! [`content`] chooses the folder: the user's, or [`samples`] in a temporary one. [`files`] serves it read-only through
//! the [`s3`] server, with entity tags in [`sidecars`]; [`located`] finds the file of a key. [`settings`] makes the
//! gateway's configuration, [`certificates`] a certificate for `--tls`, and [`announcement`] prints what to try, with [`examples`] of the objects there are.

mod announcement;
mod certificates;
mod content;
mod examples;
mod files;
mod folder;
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
use yatagarasu_server::server::ListenAddress;
use yatagarasu_server::signals::{Ignored, Signals};
use yatagarasu_server::telemetry::log::{FilterError, Format, Log};
use yatagarasu_server::{Config, Server, StartError, Stop};
use yatagarasu_sys::process::ignores_hangup;

use crate::args::DemoArguments;
use crate::stdout;

use announcement::Announcement;
use certificates::Certificates;
use content::Content;
use files::ReadOnlyFiles;
use s3::{Keys, S3Server};

/// The last line of output.
const STOPPED: &str = "stopped\n";

/// An error that ends the demo.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The log filter is invalid.
    #[error("{0}")]
    Log(FilterError),
    /// The folder to serve cannot be read.
    #[error("--dir: {} is not a folder that can be read", .dir.display())]
    Folder {
        /// The value of `--dir`.
        dir: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The options do not make a valid configuration.
    #[error("{0}")]
    Settings(String),
    /// The gateway cannot listen on an address.
    #[error("{cause} (set it with {option})")]
    Address {
        /// The option that sets the address.
        option: String,
        /// The reason.
        cause: StartError,
    },
    /// The gateway cannot start for another reason.
    #[error("{0}")]
    Gateway(StartError),
    /// The S3 server cannot listen on a port.
    #[error("the S3 server of the demo cannot listen on a port of its own")]
    S3(#[source] io::Error),
    /// The temporary folder cannot be created or removed.
    #[error("the temporary folder of the demo cannot be {doing}")]
    Content {
        /// The operation that failed, as a past participle.
        doing: &'static str,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The certificates cannot be made.
    #[error("--tls: the certificates cannot be made: {0}")]
    Certificates(Box<dyn std::error::Error + Send + Sync>),
    /// The signal handlers cannot be installed.
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    /// Standard output cannot be written.
    #[error("{}", stdout::FAILED)]
    Stdout(#[source] io::Error),
}

/// Runs the demo until SIGINT, SIGTERM or the end of its terminal. Then removes its temporary files.
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
            _ = signals.next() => {}
            () = ignored.hangup(), if !outlives_terminal => {}
        }
        Stop::Now
    };
    let mut stop = pin!(stop);
    let demo = tokio::select! {
        _ = &mut stop => return stdout::print(STOPPED).map_err(DemoError::Stdout),
        started = Demo::start(arguments) => started?,
    };
    stdout::print(&demo.announcement().to_string()).map_err(DemoError::Stdout)?;
    let Demo { gateway, s3, content, certificates, .. } = demo;
    if !gateway.run(stop).await {
        tracing::warn!("running responses were cut off");
    }
    drop(s3);
    let unremoved = |cause| DemoError::Content { doing: "removed", cause };
    certificates.map_or(Ok(()), Certificates::remove).map_err(unremoved)?;
    content.remove().map_err(unremoved)?;
    stdout::print(STOPPED).map_err(DemoError::Stdout)
}

/// The running parts of the demo.
struct Demo {
    config: Config,
    gateway: Server,
    s3: S3Server,
    keys: Keys,
    s3_address: SocketAddr,
    content: Content,
    certificates: Option<Certificates>,
}

impl Demo {
    /// Binds all ports first, and then writes the sample files, because that takes a moment.
    async fn start(arguments: &DemoArguments) -> Result<Self, DemoError> {
        if let Some(dir) = &arguments.dir {
            std::fs::read_dir(dir).map_err(|cause| DemoError::Folder { dir: dir.clone(), cause })?;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::S3)?;
        let s3_address = listener.local_addr().map_err(DemoError::S3)?;
        let keys = Keys::random();
        let certificates = if arguments.tls {
            let addresses = [Ipv4Addr::LOCALHOST.into(), arguments.tls_address.ip()];
            Some(Certificates::make(&addresses).map_err(DemoError::Certificates)?)
        } else {
            None
        };
        let config = settings::config(arguments, s3_address, &keys, certificates.as_ref())?;
        let gateway = Server::start(&config).await.map_err(not_started)?;
        let unmade = |cause| DemoError::Content { doing: "made", cause };
        let dir = arguments.dir.clone();
        let content = tokio::task::spawn_blocking(move || Content::prepare(dir.as_deref()));
        let content = content.await.expect("making files does not panic").map_err(unmade)?;
        let files = ReadOnlyFiles::new(content.root(), content.objects()).map_err(unmade)?;
        let s3 = S3Server::start(listener, files, &keys);
        Ok(Self { config, gateway, s3, keys, s3_address, content, certificates })
    }

    fn announcement(&self) -> Announcement<'_> {
        Announcement {
            gateway: self.gateway.address(),
            admin: self.gateway.admin_address(),
            s3: self.s3_address,
            content: &self.content,
            certificates: self.certificates.as_ref(),
            secure: self.secure_address(),
            token: self.config.admin.token.as_ref(),
            keys: &self.keys,
            program: std::env::args_os()
                .next()
                .map_or("yatagarasu".to_owned(), |program| program.to_string_lossy().into_owned()),
        }
    }

    /// Returns the address of the listener with TLS.
    fn secure_address(&self) -> Option<SocketAddr> {
        self.certificates.as_ref()?;
        self.gateway.addresses().into_iter().find_map(|address| match address {
            ListenAddress::Tcp(address) if address != self.gateway.address() => Some(address),
            ListenAddress::Tcp(_) | ListenAddress::Unix(_) => None,
        })
    }
}

fn not_started(error: StartError) -> DemoError {
    match error {
        StartError::Bind { ref key, .. } => {
            DemoError::Address { option: settings::option(key).to_owned(), cause: error }
        }
        StartError::Given(_)
        | StartError::OpenToAll { .. }
        | StartError::Unserved(_)
        | StartError::Tls { .. }
        | StartError::Source { .. }
        | StartError::Cache { .. }
        | StartError::Log { .. }
        | StartError::BindUdp { .. }
        | StartError::UnservedUdp(_)
        | StartError::Thread(_) => DemoError::Gateway(error),
    }
}
