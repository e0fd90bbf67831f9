//! The commands. Each calls the local API and shows the result.

mod account;
mod contact;
mod home;
mod input;
mod message;
mod names;
mod pages;
mod up;

use crate::{
    cli::{Cli, Command},
    demo,
    failure::Failure,
    lookup, node,
    output::Output,
    paths::DataDir,
};

/// Runs a command.
pub(crate) async fn run(cli: Cli, out: Output) -> Result<(), Failure> {
    let chosen = cli.dir();
    let dir = || DataDir::new(chosen.as_deref());
    match cli.command {
        Command::Node(args) => node::run(args, &dir()?, out).await,
        Command::Lookup(args) => lookup::run(args, &dir()?, out).await,
        Command::Account(command) => account::run(command, &dir()?, out).await,
        Command::Contact(command) => contact::run(command, &dir()?, out).await,
        Command::Home(command) => home::run(command, &dir()?, out).await,
        Command::Send(args) => message::send(args, &dir()?, out).await,
        Command::Edit(args) => message::edit(args, &dir()?, out).await,
        Command::Delete(args) => message::delete(args, &dir()?, out).await,
        Command::React(args) => message::react(args, &dir()?, out).await,
        Command::Read(args) => message::read(args, &dir()?, out).await,
        Command::Tail(args) => message::tail(args, &dir()?, out).await,
        Command::Rekey(args) => message::rekey(args, &dir()?, out).await,
        Command::Up(args) => up::run(&args, &dir()?, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { directory } => pages::manual(directory.as_deref()),
    }
}
