//! The `config` commands.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use yatagarasu_server::Config;
use yatagarasu_server::config::{ConfigErrors, EXAMPLE, Environment, show};

use crate::args::ConfigCommand;
use crate::words::counted;

/// Why a `config` command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigCommandError {
    /// The configuration is wrong.
    #[error(transparent)]
    Wrong(#[from] ConfigErrors),
    /// The example would not be read as what it is.
    #[error("{}: the example is YAML: choose a name that ends in .yaml or .yml", .0.display())]
    NotYaml(PathBuf),
    /// The file is there already.
    #[error("{}: exists already: choose another name, or remove it first", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{}: cannot be written", .file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
}

/// Does what is asked, and gives what is to be printed.
pub(crate) fn run(command: &ConfigCommand) -> Result<String, ConfigCommandError> {
    match command {
        ConfigCommand::Init { file: None } => Ok(EXAMPLE.to_owned()),
        ConfigCommand::Init { file: Some(file) } => {
            create(file)?;
            let file = file.display();
            Ok(format!("{file}: written; edit it, then run `yatagarasu config check {file}`\n"))
        }
        ConfigCommand::Check { file } => {
            let buckets = load(file)?.buckets.len() as u64;
            Ok(format!("{}: ok, {}\n", file.display(), counted(buckets, "bucket")))
        }
        ConfigCommand::Show { file } => Ok(show(&load(file)?)),
    }
}

/// Reads a configuration as the server would, environment included.
fn load(file: &Path) -> Result<Config, ConfigErrors> {
    Config::load(file, &Environment::of_process())
}

/// Writes the example to a file that is not there yet.
fn create(file: &Path) -> Result<(), ConfigCommandError> {
    let yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !yaml {
        return Err(ConfigCommandError::NotYaml(file.to_owned()));
    }
    let written = File::create_new(file).and_then(|mut created| created.write_all(EXAMPLE.as_bytes()));
    written.map_err(|cause| match cause.kind() {
        io::ErrorKind::AlreadyExists => ConfigCommandError::Exists(file.to_owned()),
        _ => ConfigCommandError::Unwritable { file: file.to_owned(), cause },
    })
}
