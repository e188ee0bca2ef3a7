//! What a shell and `man` know of this command line.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::client::Error;
use crate::exit::Exit;
use crate::output::Output;

/// Prints the completions of one shell.
///
/// # Errors
/// Standard output is closed.
pub fn completions(shell: Shell, output: &mut Output) -> Result<Exit, Error> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ops", &mut text);
    output.text(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// Writes `ops.1` and a page for each command into `folder`, and prints their names.
///
/// # Errors
/// The folder cannot be written.
pub fn man(folder: &Path, output: &mut Output) -> Result<Exit, Error> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(|| format!("write manual pages into {}", folder.display()))?;
    let mut names: Vec<String> = fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("ops"))
        .collect();
    names.sort();
    output.text(&format!("{}\n", names.join("\n")))?;
    Ok(Exit::Done)
}
