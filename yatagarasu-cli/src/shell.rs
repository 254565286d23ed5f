//! The `completions` and `man` commands: what shells and `man` know of the command lines.

use std::fs;
use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use yatagarasu_server::arguments::Arguments as ServerArguments;

use crate::args::{Arguments, Program};

/// Returns the command line of a program.
fn command(program: Program) -> Command {
    match program {
        Program::Yatagarasu => Arguments::command(),
        Program::YatagarasuServer => ServerArguments::command(),
    }
}

/// Returns the script that has `shell` complete the arguments of `program`.
pub(crate) fn completions(shell: Shell, program: Program) -> String {
    let mut command = command(program);
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8(script).expect("the command lines are ASCII")
}

/// Writes the manual pages of both programs into a folder, which is made if it is missing.
///
/// # Errors
///
/// Returns an error if a file cannot be written.
pub(crate) fn write_manual(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for program in [Program::Yatagarasu, Program::YatagarasuServer] {
        clap_mangen::generate_to(command(program), folder)?;
    }
    Ok(())
}
