//! Runs the `yatagarasu` command as a child process.

use std::process::{Command, Stdio};

/// The output and exit status of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Returns the command with an empty environment.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yatagarasu"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// Runs the command until it exits.
pub(crate) fn run(arguments: &[&str]) -> Said {
    finish(&mut command(arguments))
}

/// Runs `command` until it exits.
pub(crate) fn finish(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        status: output.status.code().expect("it ends by itself"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
