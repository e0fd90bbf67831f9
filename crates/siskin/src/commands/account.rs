//! `siskin account`.

use std::{
    fs,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use proto::NodeAddress;

use super::{home, input::standard_input};
use crate::{
    cli::{AccountCommand, HomeArgs, WaitArgs},
    failure::Failure,
    output::{Output, Style, safe},
    paths::DataDir,
    rpc::{Account, AccountCreate, AccountRecover, AccountShow, Created, Secret, call},
};

pub(super) async fn run(
    command: AccountCommand,
    dir: &DataDir,
    out: Output,
) -> Result<(), Failure> {
    match command {
        AccountCommand::Create { at, wait } => {
            let homes = NewHomes::choose(&at).await?;
            let (name, nodes) = (at.name, homes.addresses());
            let create = AccountCreate { name, nodes, wait_s: wait.seconds() };
            let created = call(dir, create).await?;
            out.result(&created, |created| show_created(created, out));
            check_homes(dir, &created, &homes, wait, out).await?;
        }
        AccountCommand::Recover { at, phrase_file, wait } => {
            let phrase = read_phrase(phrase_file.as_deref())?;
            let homes = NewHomes::choose(&at).await?;
            let (name, nodes) = (at.name, homes.addresses());
            let recover = AccountRecover { phrase, name, nodes, wait_s: wait.seconds() };
            let created = call(dir, recover).await?;
            out.result(&created, |created| created.account.clone());
            check_homes(dir, &created, &homes, wait, out).await?;
        }
        AccountCommand::Show => {
            let shown = call(dir, AccountShow {}).await?;
            out.result(&shown, |shown| show(shown, out));
        }
    }
    Ok(())
}

/// The home nodes of a new account.
struct NewHomes {
    nodes: Vec<NodeAddress>,
    at_random: bool,
}

impl NewHomes {
    /// Takes the home nodes that the command line names, or chooses some at random.
    async fn choose(args: &HomeArgs) -> Result<Self, Failure> {
        match &args.bootstrap {
            Some(node) => Ok(Self { nodes: home::sample_new(node).await?, at_random: true }),
            None => Ok(Self { nodes: args.node.clone(), at_random: false }),
        }
    }

    fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(ToString::to_string).collect()
    }
}

/// Checks that a home node has accepted the account. Replaces refusing nodes that were chosen at
/// random by the others.
async fn check_homes(
    dir: &DataDir,
    created: &Created,
    homes: &NewHomes,
    wait: WaitArgs,
    out: Output,
) -> Result<(), Failure> {
    let checked = check_published(created, wait.seconds());
    if homes.at_random && !created.refusing.is_empty() {
        let accepted = home::drop_refusing(dir, &homes.nodes, &created.refusing, wait, out).await?;
        return if accepted { Ok(()) } else { checked };
    }
    for refusing in &created.refusing {
        out.say(&format!(
            "{refusing} refuses the account; choose other home nodes with `siskin home move`"
        ));
    }
    checked
}

fn show_created(created: &Created, out: Output) -> String {
    let words = created.phrase.as_ref().map(|phrase| phrase.expose().as_str()).unwrap_or_default();
    let words: Vec<&str> = words.split(' ').collect();
    let lines = words.chunks(6).map(|line| format!("  {}", line.join(" ")));
    let lines: Vec<String> = lines.collect();
    out.say(&out.styled(
        Style::Yellow,
        "Write these 24 words down. Only they can recover your account, and they are not shown\n\
         again.",
    ));
    format!("{}\n{}", created.account, lines.join("\n"))
}

fn check_published(created: &Created, waited: u32) -> Result<(), Failure> {
    if let Some(trouble) = &created.trouble {
        return Err(Failure::network(format!("the account is created, but {trouble}"))
            .hint("ask the operator, or create an account at another node"));
    }
    if created.published || waited == 0 {
        return Ok(());
    }
    Err(Failure::network("the account is created, but the home node has not answered yet")
        .hint("keep the words, and run `siskin up` to finish; contacts can't reach you before"))
}

fn show(shown: &Account, out: Output) -> String {
    let Account { account, name, nodes, devices, rank, locked_out, published, trouble } = shown;
    let (rotations, delegation, version) = rank;
    let mut lines = vec![
        out.styled(Style::Bold, account),
        format!("name     {}", safe(name)),
        format!("nodes    {}", nodes.join("\n         ")),
        format!("devices  {}", devices.len()),
        format!("record   rotations {rotations}, delegation {delegation}, version {version}"),
        format!(
            "reached  {}",
            if *published { "yes" } else { "not yet: the home node doesn't have everything" }
        ),
    ];
    if let Some(trouble) = trouble {
        lines.push(out.styled(Style::Yellow, &format!("Trouble: {trouble}.")));
    }
    if *locked_out {
        let warning = "This device is locked out: the account was recovered on another device.";
        lines.push(out.styled(Style::Yellow, warning));
    }
    lines.join("\n")
}

/// Reads the words from a file or standard input, never from the command line.
fn read_phrase(file: Option<&Path>) -> Result<Secret, Failure> {
    match file {
        Some(file) if file != Path::new("-") => {
            let read = fs::read_to_string(file);
            read.map(Secret::new).map_err(|error| Failure::io(file.display(), &error))
        }
        None if io::stdin().is_terminal() => {
            let mut err = io::stderr().lock();
            let _ = write!(err, "Recovery phrase: ").and_then(|()| err.flush());
            let mut line = String::new();
            let read = io::stdin().lock().read_line(&mut line);
            read.map_err(|error| Failure::io("standard input", &error))?;
            Ok(Secret::new(line))
        }
        Some(_) | None => standard_input().map(Secret::new),
    }
}
