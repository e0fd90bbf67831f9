//! The commands: each is one call of the local API and a way to show what came back.

mod account;
mod contact;
mod home;
mod input;
mod message;
mod pages;
mod up;

use crate::{
    cli::{Cli, Command},
    demo,
    failure::Failure,
    lookup, node,
    output::Output,
    paths::Home,
};

/// Carries out what the command line asks.
pub(crate) async fn run(cli: Cli, out: Output) -> Result<(), Failure> {
    let home = || Home::new(cli.home.as_deref());
    match cli.command {
        Command::Node(args) => node::run(args, &home()?, out).await,
        Command::Lookup(args) => lookup::run(args, &home()?, out).await,
        Command::Account(command) => account::run(command, &home()?, out).await,
        Command::Contact(command) => contact::run(command, &home()?, out).await,
        Command::Home(command) => home::run(command, &home()?, out).await,
        Command::Send(args) => message::send(args, &home()?, out).await,
        Command::Edit(args) => message::edit(args, &home()?, out).await,
        Command::Delete(args) => message::delete(args, &home()?, out).await,
        Command::React(args) => message::react(args, &home()?, out).await,
        Command::Read(args) => message::read(args, &home()?, out).await,
        Command::Tail(args) => message::tail(args, &home()?, out).await,
        Command::Rekey(args) => message::rekey(args, &home()?, out).await,
        Command::Up(args) => up::run(&args, &home()?, out).await,
        Command::Demo(args) => demo::run(args, out).await,
        Command::Completions { shell } => pages::completions(shell),
        Command::Man { dir } => pages::manual(dir.as_deref()),
    }
}
