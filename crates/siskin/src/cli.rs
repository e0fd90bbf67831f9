//! The command line.

mod account;
mod node;
mod values;

use std::{env, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use proto::NodeAddress;

use self::values::sought;
pub(crate) use self::{
    account::{AccountCommand, HomeArgs, HomeCommand, MoveArgs},
    node::{DataDirArgs, NodeAction, NodeArgs, RunArgs},
    values::{Sought, WaitArgs, duration},
};

/// A messenger whose nodes know neither who you are nor what you say.
#[derive(Parser)]
#[command(name = "siskin", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Keep all files in this directory instead of the XDG directories
    #[arg(
        long,
        alias = "home",
        global = true,
        env = "SISKIN_DIR",
        value_name = "DIR",
        value_hint = ValueHint::DirPath
    )]
    dir: Option<PathBuf>,
    /// Print results as JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log at level debug; repeat for level trace
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Returns the chosen directory. `SISKIN_HOME` is the former name of the variable.
    pub(crate) fn dir(&self) -> Option<PathBuf> {
        let former = || env::var_os("SISKIN_HOME").filter(|dir| !dir.is_empty());
        self.dir.clone().or_else(|| former().map(PathBuf::from))
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a service node, or query or maintain the one on this machine
    Node(NodeArgs),
    /// Look up the record of an account or a node in the network
    Lookup(LookupArgs),
    /// Create, recover or show your account
    #[command(subcommand)]
    Account(AccountCommand),
    /// Show, pin, replicate or replace the home nodes of your account
    #[command(subcommand)]
    Home(HomeCommand),
    /// Invite, add, verify and remove contacts
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Send a message
    Send(SendArgs),
    /// Replace the text of one of your messages
    Edit(EditArgs),
    /// Delete one of your messages for both of you
    Delete(DeleteArgs),
    /// React to a message with an emoji; an empty one removes the reaction
    React(ReactArgs),
    /// Show messages and send read receipts
    Read(ReadArgs),
    /// Show messages as they arrive
    Tail(TailArgs),
    /// Replace the encryption keys of a conversation
    Rekey(RekeyArgs),
    /// Run the daemon that keeps the account online; other commands use it
    Up(UpArgs),
    /// Watch a conversation between two people through two real nodes on this machine
    Demo(DemoArgs),
    /// Print a shell completion script
    Completions { shell: Shell },
    /// Print the manual page, or write the pages of all commands to a directory
    Man {
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },
}

#[derive(Args)]
pub(crate) struct LookupArgs {
    /// An account (`siskin1…`) or a node (`sisknode1…`)
    #[arg(value_parser = sought)]
    pub(crate) what: Sought,
    /// Ask this node (default: the one on this machine, or a home node of your account)
    #[arg(long, env = "SISKIN_NODE", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) node: Vec<NodeAddress>,
    /// Show every node that was asked, with its answer
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Subcommand)]
pub(crate) enum ContactCommand {
    /// Create an invite link with which others can ask to become contacts
    Invite {
        /// Let this many people use the link
        #[arg(long, default_value_t = 1, value_name = "N")]
        uses: u32,
        /// Let the link expire after this time, such as 30m, 12h or 7d
        #[arg(long, default_value = "7d", value_name = "TIME", value_parser = duration)]
        expires: Duration,
        /// Also draw the link as a QR code
        #[arg(long)]
        qr: bool,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Ask the owner of an invite link to become a contact
    Add {
        /// The link; `-` reads it from standard input
        link: String,
        /// Call the contact by this name
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Accept a contact request
    Accept {
        who: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List contacts and contact requests
    List,
    /// Show the safety number to compare with a contact, by voice or in person
    Verify {
        who: String,
        /// Mark the contact as verified: you compared the number and it was the same
        #[arg(long)]
        set: bool,
        /// Mark the contact as not verified
        #[arg(long, conflicts_with = "set")]
        unset: bool,
    },
    /// Remove a contact with its conversation, or decline a contact request
    Remove { who: String },
    /// Rename a contact
    Rename { who: String, name: String },
}

#[derive(Args)]
pub(crate) struct SendArgs {
    /// Name, account (its first characters are enough) or invite link of the contact
    pub(crate) who: String,
    /// The text; omitted or `-`: standard input
    pub(crate) text: Option<String>,
    /// Reply to the message with this id
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<String>,
    /// Send even if the contact's identity is in doubt
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct EditArgs {
    pub(crate) who: String,
    /// Id of the message; its first digits are enough
    pub(crate) id: String,
    /// The new text; omitted or `-`: standard input
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    pub(crate) who: String,
    /// Id of the message; its first digits are enough
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct ReactArgs {
    pub(crate) who: String,
    /// Id of the message; its first digits are enough
    pub(crate) id: String,
    pub(crate) emoji: String,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct ReadArgs {
    pub(crate) who: String,
    /// Show this many messages
    #[arg(
        short,
        default_value_t = 50,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    pub(crate) n: u32,
    /// Show only messages before the one with this id
    #[arg(long, value_name = "ID")]
    pub(crate) before: Option<String>,
    /// Don't send read receipts
    #[arg(long)]
    pub(crate) peek: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Show only the messages of this contact
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
    /// Exit when stdin closes
    #[arg(long, hide = true)]
    pub(crate) exit_on_stdin_close: bool,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// Keep everything running until Ctrl-C, so that you can join
    #[arg(long)]
    pub(crate) keep: bool,
    /// Pause this many milliseconds between messages
    #[arg(
        long,
        default_value_t = 150,
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(..=10_000)
    )]
    pub(crate) pace: u64,
}

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 failure, 2 wrong usage, 3 no node reached in time, 4 a contact's identity
is in doubt, 5 limit reached, 6 the store is in use or can't be opened.

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
