//! The `config` commands: write, check, show and describe configuration files, and have a server read its own again.

mod migrate;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use yatagarasu_server::Config;
use yatagarasu_server::config::{ConfigErrors, Environment, example, schema, show};

use crate::args::{AdminArguments, ConfigCommand};
use crate::cache::client::{AdminClient, Reloaded, ReloadedBucket};
use crate::cache::error::AdminError;
use crate::cache::progress::say;
use crate::stdout;
use crate::words::counted;
use migrate::Migrated;

/// An error of a `config` command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigCommandError {
    /// The configuration is invalid.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
    /// The extension is not that of YAML, so the example could not be loaded.
    #[error("{}: the example is YAML: choose a name that ends in .yaml or .yml", .0.display())]
    NotYaml(PathBuf),
    /// The file exists already.
    #[error("{}: exists already: choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The server cannot be asked, or refuses.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The file cannot be read.
    #[error("{}: cannot be read", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written", .file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        cause: io::Error,
    },
}

/// Runs a command. Returns the text to print.
pub(crate) async fn run(command: &ConfigCommand) -> Result<String, ConfigCommandError> {
    match command {
        ConfigCommand::Init { file: None } => Ok(example()),
        ConfigCommand::Init { file: Some(file) } => {
            create(file)?;
            let file = file.display();
            Ok(format!("{file}: written; edit it, then run `yatagarasu config check {file}`\n"))
        }
        ConfigCommand::Check { file } => {
            let config = load(file)?;
            let (file, buckets) = (file.display(), counted(config.buckets.len() as u64, "bucket"));
            let warnings =
                config.warnings().into_iter().map(|warning| format!("{file}: warning: {warning}\n"));
            Ok(format!("{}{file}: ok, {buckets}\n", warnings.collect::<String>()))
        }
        ConfigCommand::Show { file } => Ok(show(&load(file)?)),
        ConfigCommand::Migrate { file, write } => migrated(file, *write),
        ConfigCommand::Schema => Ok(schema()),
        ConfigCommand::Reload { server } => Ok(reload(server).await?),
        ConfigCommand::Running { server } => Ok(AdminClient::new(server)?.config().await?),
    }
}

/// Has a server read its configuration again. Returns what has become of each bucket's cache.
async fn reload(server: &AdminArguments) -> Result<String, AdminError> {
    let Reloaded { buckets } = AdminClient::new(server)?.reload().await?;
    let lines = buckets.iter().map(|ReloadedBucket { bucket, cache }| format!("{bucket}: cache {cache}\n"));
    Ok(format!("reloaded\n{}", lines.collect::<String>()))
}

/// Returns what is said about a file, a line each.
fn lines(file: &Path, said: &[String]) -> String {
    said.iter().fold(String::new(), |text, said| text + &format!("{}: {said}\n", file.display()))
}

/// Gives the keys of a file their present names. Returns the file, or what was done if it is written.
fn migrated(file: &Path, write: bool) -> Result<String, ConfigCommandError> {
    let unreadable = |cause| ConfigCommandError::Unreadable { file: file.to_owned(), cause };
    let unwritable = |cause| ConfigCommandError::Unwritable { file: file.to_owned(), cause };
    let before = fs::read_to_string(file).map_err(unreadable)?;
    let Migrated { text, notes } = migrate::migrate(&before);
    // The names are replaced in the text, so that comments stay. A wrong replacement is an error here.
    let invalid = Config::from_text(file, &text, &Environment::of_process()).err();
    if !write || invalid.is_some() {
        for note in notes {
            say(&format!("{}: {note}", file.display()));
        }
        return match invalid {
            None => Ok(text),
            Some(errors) if write => Err(errors.into()),
            Some(errors) => {
                let unwritable = |error| AdminError::Output(format!("{}: {error}", stdout::FAILED));
                stdout::print(&text).map_err(unwritable)?;
                Err(errors.into())
            }
        };
    }
    let mut said = notes;
    if text == before {
        said.push("no key has another name now".to_owned());
        return Ok(lines(file, &said));
    }
    // The target of a link is written, not the link.
    let file = &fs::canonicalize(file).map_err(unreadable)?;
    let old = backup(file);
    // The old one stays under its name until the new one is whole.
    let permissions = fs::metadata(file).map_err(unreadable)?.permissions();
    let mut new = file.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, &text).map_err(unwritable)?;
    fs::set_permissions(&new, permissions).map_err(unwritable)?;
    fs::copy(file, &old).map_err(unwritable)?;
    fs::rename(&new, file).map_err(unwritable)?;
    said.push(format!("written; the one before is {}", old.display()));
    Ok(lines(file, &said))
}

/// Returns the first unused name for a copy of a file.
fn backup(file: &Path) -> PathBuf {
    let named = |number: u32| {
        let mut name = file.as_os_str().to_owned();
        name.push(if number == 1 { ".old".to_owned() } else { format!(".old{number}") });
        PathBuf::from(name)
    };
    let mut number = 1;
    while named(number).exists() {
        number += 1;
    }
    named(number)
}

/// Loads a configuration as the server would, with this process's environment.
fn load(file: &Path) -> Result<Config, ConfigErrors> {
    Config::load(file, &Environment::of_process())
}

/// Writes the example to a new file. Never overwrites an existing one.
fn create(file: &Path) -> Result<(), ConfigCommandError> {
    let yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !yaml {
        return Err(ConfigCommandError::NotYaml(file.to_owned()));
    }
    let written = File::create_new(file).and_then(|mut created| created.write_all(example().as_bytes()));
    written.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => ConfigCommandError::Exists(file.to_owned()),
        _ => ConfigCommandError::Unwritable { file: file.to_owned(), cause },
    })
}
