//! The commands: each is one call of the local API and a way to show what came back.

mod account;
mod contact;
mod home;
mod message;
mod pages;
mod up;

use std::{
    io::{self, IsTerminal, Read},
    time::Duration,
};

use client::view;
use tokio::time::timeout;

use crate::{
    cli::{Cli, Command},
    demo,
    failure::Failure,
    lookup, node,
    output::Output,
    paths::Home,
    rpc::{Call, Secret, Session},
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

/// Calls one method, in the daemon if there is one.
pub(crate) async fn call<C: Call>(home: &Home, call: C) -> Result<C::Returns, Failure> {
    let mut session = Session::open(home).await?;
    let result = session.call(call).await;
    session.close().await?;
    result
}

/// As [`call`], with what others have sent meanwhile.
async fn call_caught_up<C: Call>(home: &Home, call: C) -> Result<C::Returns, Failure> {
    let mut session = Session::open(home).await?;
    let result = match catch_up(&session).await {
        Ok(()) => session.call(call).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Without a daemon: gives the nodes a moment to hand over what is new. With one nothing is new.
async fn catch_up(session: &Session) -> Result<(), Failure> {
    let Session::Here(engine) = session else { return Ok(()) };
    let mut notices = engine.notices();
    let account = engine.read(view::account).await?;
    if account.is_none_or(|account| account.locked_out) {
        return Ok(());
    }
    let quiet = async {
        loop {
            let patience = if engine.links().values().any(|up| *up) { QUIET } else { CATCH_UP_MAX };
            if !matches!(timeout(patience, notices.recv()).await, Ok(Ok(_))) {
                return;
            }
        }
    };
    // Whoever is offline sees what is there.
    let _ = timeout(CATCH_UP_MAX, quiet).await;
    Ok(())
}

/// A text from the command line, or from standard input if it is `-` or left out.
fn text(given: Option<String>) -> Result<Secret, Failure> {
    match given {
        Some(text) if text != "-" => Ok(Secret::new(text)),
        None if io::stdin().is_terminal() => {
            Err(Failure::usage("there is no text").hint("give it after the name, or pipe it in"))
        }
        Some(_) | None => Ok(Secret::new(standard_input()?)),
    }
}

/// All of standard input without the line break at its end.
fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    let limit = u64::try_from(INPUT_MAX).unwrap_or(u64::MAX);
    let read = io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|error| Failure::io("standard input", &error))?;
    if text.len() >= INPUT_MAX {
        return Err(Failure::user("standard input is too long for a message"));
    }
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    Ok(text)
}

const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// Longer than an answer takes from the other side of the world.
const QUIET: Duration = Duration::from_millis(500);
/// More than any message may have.
const INPUT_MAX: usize = 1024 * 1024;
