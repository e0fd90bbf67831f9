//! `siskin completions` and `siskin man`.

use std::{fs, io::Write, path::Path};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::{cli::Cli, failure::Failure};

pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "siskin", &mut script);
    print(&script)
}

/// Prints the page of `siskin`, or writes the pages of all commands to a directory.
pub(super) fn manual(directory: Option<&Path>) -> Result<(), Failure> {
    let Some(directory) = directory else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| Failure::io("the manual page", &error))?;
        return print(&page);
    };
    let write = || {
        fs::create_dir_all(directory)?;
        clap_mangen::generate_to(Cli::command(), directory)
    };
    write().map_err(|error| Failure::io(directory.display(), &error))
}

fn print(page: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(page) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("standard output", &error))
        }
        _ => Ok(()),
    }
}
