//! The command line of accounts and their homes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use proto::NodeAddress;

use super::values::WaitArgs;

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
