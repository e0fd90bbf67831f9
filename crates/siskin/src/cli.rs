//! The command line.

mod account;
mod node;
mod values;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use proto::NodeAddress;

use self::values::sought;
pub(crate) use self::{
    account::{AccountCommand, HomeArgs, HomeCommand, MoveArgs},
    node::{NodeAction, NodeArgs, PlaceArgs, RunArgs},
    values::{Sought, WaitArgs, duration},
};

/// A messenger whose nodes know neither who you are nor what you say.
#[derive(Parser)]
#[command(name = "siskin", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Keep everything in this directory instead of the XDG ones
    #[arg(long, global = true, env = "SISKIN_HOME", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) home: Option<PathBuf>,
    /// Write results as JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more (twice: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a service node, or ask the one that runs here
    Node(NodeArgs),
    /// Find an account or a node in the network, and show what is found
    Lookup(LookupArgs),
    /// Make, bring back or show your account
    #[command(subcommand)]
    Account(AccountCommand),
    /// Show where your account is at home, pin nodes, or move to others
    #[command(subcommand)]
    Home(HomeCommand),
    /// Invite, add and look after contacts
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Send a message
    Send(SendArgs),
    /// Replace the text of a message of yours
    Edit(EditArgs),
    /// Take a message of yours back
    Delete(DeleteArgs),
    /// React to a message with an emoji; with an empty one no longer
    React(ReactArgs),
    /// Show messages, and tell their author that you have read them
    Read(ReadArgs),
    /// Show messages as they arrive
    Tail(TailArgs),
    /// Give a conversation fresh keys
    Rekey(RekeyArgs),
    /// Keep the account online; the other commands talk to this one
    Up(UpArgs),
    /// Watch two people talk through two real nodes on this machine
    Demo(DemoArgs),
    /// Print a completion script
    Completions { shell: Shell },
    /// Print the manual page, or write all pages to a directory
    Man {
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct LookupArgs {
    /// An account (`siskin1…`) or a node (`sisknode1…`)
    #[arg(value_parser = sought)]
    pub(crate) what: Sought,
    /// Which node to ask (default: the one that runs here, or a home node of your account)
    #[arg(long, env = "SISKIN_NODE", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) node: Vec<NodeAddress>,
    /// Show whom the node has asked, and what came of it
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Subcommand)]
pub(crate) enum ContactCommand {
    /// Make a link by which others can ask to become contacts
    Invite {
        /// How many may use it
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// For how long, such as 30m, 12h or 7d
        #[arg(long, default_value = "7d", value_name = "TIME", value_parser = duration)]
        expires: Duration,
        /// Draw it as a QR code too
        #[arg(long)]
        qr: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Ask somebody who gave you a link; reads it from standard input if it is `-`
    Add {
        link: String,
        /// What you call them
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Accept somebody who asked
    Accept {
        who: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List contacts and those who asked
    List,
    /// Show the safety number to compare with a contact
    Verify {
        who: String,
        /// Remember that you compared it and that it was the same
        #[arg(long)]
        set: bool,
        /// Forget that
        #[arg(long, conflicts_with = "set")]
        unset: bool,
    },
    /// Forget a contact, or decline who asked
    Remove { who: String },
    /// Call a contact something else
    Rename { who: String, name: String },
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// A name, an account (its beginning is enough) or a link
    pub(crate) who: String,
    /// The text; left out or `-`: standard input
    pub(crate) text: Option<String>,
    /// Id of the message that this one answers
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<String>,
    /// Send even if somebody else may hold the contact's keys
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct EditArgs {
    pub(crate) who: String,
    /// The message; its first digits are enough
    pub(crate) id: String,
    /// The new text; left out or `-`: standard input
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    pub(crate) who: String,
    /// The message; its first digits are enough
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct ReactArgs {
    pub(crate) who: String,
    /// The message; its first digits are enough
    pub(crate) id: String,
    pub(crate) emoji: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct ReadArgs {
    pub(crate) who: String,
    /// How many
    #[arg(short, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) n: u32,
    /// Only what stands before this message
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
    /// Don't tell that you have read them
    #[arg(long)]
    pub(crate) peek: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Only this contact's
    pub(crate) who: Option<String>,
}

#[derive(Args)]
pub(crate) struct RekeyArgs {
    pub(crate) who: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct UpArgs {
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) leashed: bool,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// A conversation to play instead of the bundled one
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) from: Option<PathBuf>,
    /// Leave everything running until Ctrl-C, to join in
    #[arg(long)]
    pub(crate) keep: bool,
    /// Milliseconds between messages
    #[arg(long, default_value_t = 150, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=10_000))]
    pub(crate) pace: u64,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 it can't be done, 2 wrong usage, 3 no node reached in time, 4 a contact's
identity is in doubt, 5 too many, 6 the store is in use or can't be opened.

Start with `siskin demo`.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
