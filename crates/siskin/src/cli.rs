//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use proto::{AccountId, Key, NodeAddress, NodeId};

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

/// Starts a node and prints its address, which is what others need to use it.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) action: Option<NodeAction>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl NodeArgs {
    /// Tells whether a node is to run, rather than to be asked.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.action, None | Some(NodeAction::Run(_)))
    }
}

#[derive(Subcommand)]
pub(crate) enum NodeAction {
    /// Run a node; may be left out
    Run(Box<RunArgs>),
    /// Show how the node that runs here fares
    Status(PlaceArgs),
    /// Have other nodes make copies of all that is here, before this one is ended for good
    Drain(PlaceArgs),
    /// List the nodes to which it is connected
    Peers(PlaceArgs),
    /// Check everything that a node has stored; it must not run meanwhile
    Verify(PlaceArgs),
    /// Write everything that a node holds, and its key, to a file; it may run meanwhile
    Backup {
        /// Must not be there yet
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Make a node of a backup, in a directory where there is none; the one it came from must never run
    /// again
    Restore {
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        place: PlaceArgs,
    },
}

#[derive(Args)]
pub(crate) struct PlaceArgs {
    /// Where the node keeps its key and its rows
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Settings in TOML; what the command line says wins
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Where the node keeps its key and its rows
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where to listen; may be repeated (default: port 4440 of every address)
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Under which address others reach it, if not where it listens; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Vec<SocketAddr>,
    /// Join the network through this node; may be repeated, and is remembered
    #[arg(long, env = "SISKIN_JOIN", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) join: Vec<NodeAddress>,
    /// Don't look for nodes on this network, and don't tell them of this one (mDNS)
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Where the node is, such as a country; up to 16 bytes that others see
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Whose node it is: a public key in hexadecimal, or a key file; no account takes two homes of
    /// one operator
    #[arg(long, value_name = "KEY|FILE", value_hint = ValueHint::FilePath)]
    pub(crate) operator: Option<String>,
    /// Store nothing more when this much is on disk (default: 8GiB)
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk_cap: Option<String>,
    /// Who may register an account (default: open)
    #[arg(long, value_name = "open|closed", value_parser = ["open", "closed"])]
    pub(crate) registration: Option<String>,
    /// Tell a Prometheus server how the node fares, at http://IP:PORT/metrics; whoever can connect there
    /// sees it
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) leashed: bool,
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

/// Whose record is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    Account(AccountId),
    Node(NodeId),
}

impl Sought {
    /// Where the record is kept.
    pub(crate) fn key(self) -> Key {
        match self {
            Self::Account(account) => account.into(),
            Self::Node(node) => node.into(),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Make a new account; prints its recovery phrase, once
    Create {
        #[command(flatten)]
        at: HomeArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Bring your account back from its recovery phrase; locks its old devices out
    Recover {
        #[command(flatten)]
        at: HomeArgs,
        /// Read the 24 words from a file (`-`: standard input) instead of asking for them
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        phrase_file: Option<PathBuf>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show the account of this device
    Show,
}

#[derive(Args)]
pub(crate) struct HomeArgs {
    /// Address of a node to be at home at; may be repeated
    #[arg(
        long,
        env = "SISKIN_NODE",
        value_name = "ADDRESS",
        required_unless_present = "through",
        value_delimiter = ' '
    )]
    pub(crate) node: Vec<NodeAddress>,
    /// Choose home nodes by lot from those that this node knows, instead of naming them
    #[arg(long, value_name = "ADDRESS", conflicts_with = "node")]
    pub(crate) through: Option<NodeAddress>,
    /// What contacts see when you ask them
    #[arg(long, default_value = "")]
    pub(crate) name: String,
}

#[derive(Subcommand)]
pub(crate) enum HomeCommand {
    /// List your home nodes, how they do, and what they cost
    List,
    /// Put nodes in front, the first two of which serve you from then on; they are kept when homes are
    /// chosen another time
    Pin {
        #[arg(required = true, value_name = "ADDRESS")]
        nodes: Vec<NodeAddress>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let nodes go when homes are chosen another time
    Unpin {
        /// A node (`sisknode1…`) or its address
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Have more of your home nodes hold all that you have, so that more of them may be lost at once
    Copies {
        /// How many of your homes, of as many as you have
        #[arg(value_parser = clap::value_parser!(u32).range(2..=4))]
        copies: u32,
        /// How many nodes have to sign for a message before it is called stored (default: as many as
        /// copies, 3 at most)
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=4))]
        receipts: Option<u32>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List nodes that are proved to have lost messages that they had signed for
    Proofs {
        /// Write each proof to NODE.proof in this directory, for others to check
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
    },
    /// Check a proof that somebody has saved; needs no account
    Check {
        #[arg(value_name = "FILE")]
        proof: PathBuf,
    },
    /// Move to these nodes, or to some that are chosen by lot; nothing is lost, whoever writes meanwhile
    Move(MoveArgs),
}

#[derive(Args)]
pub(crate) struct MoveArgs {
    /// The first two serve you, the others are in reserve
    #[arg(value_name = "ADDRESS")]
    pub(crate) nodes: Vec<NodeAddress>,
    /// Which node to ask for others (default: the one that runs here, or your home)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "nodes")]
    pub(crate) through: Vec<NodeAddress>,
    /// How many to choose
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) count: u8,
    /// Only show where to, and what is copied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
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

/// How long to wait for a node.
#[derive(Args, Clone, Copy)]
pub(crate) struct WaitArgs {
    /// Seconds to wait until a node has taken it
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    timeout: u32,
    /// Don't wait; it goes on when the account is next online
    #[arg(long)]
    no_wait: bool,
}

impl WaitArgs {
    /// Seconds to wait.
    pub(crate) fn seconds(self) -> u32 {
        if self.no_wait { 0 } else { self.timeout }
    }
}

/// Reads the name of an account or of a node, of which an address may be shown too.
fn sought(text: &str) -> Result<Sought, String> {
    let account = text.parse().map(Sought::Account);
    let node = text.split('@').next().unwrap_or_default().parse().map(Sought::Node);
    let wrong = |_| format!("`{text}` is no account (siskin1…) and no node (sisknode1…)");
    account.or(node).map_err(wrong)
}

/// Reads a time such as `90s`, `30m`, `12h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; one looks like 30m, 12h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).unwrap_or_default().parse().map_err(|_| wrong())?;
    let total = number.checked_mul(seconds).filter(|total| (1..=TIME_MAX).contains(total));
    total.map(Duration::from_secs).ok_or_else(wrong)
}

/// Ten years.
const TIME_MAX: u64 = 10 * 366 * 86_400;
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

    #[test]
    fn times_are_read() {
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "7", "d", "0s", "-1h", "1y", "99999999999d", "1hh", "7µ"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
