//! The command line of accounts and their homes.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use proto::NodeAddress;

use super::values::WaitArgs;

#[derive(Subcommand)]
pub(crate) enum AccountCommand {
    /// Create an account and print its recovery phrase, once
    Create {
        #[command(flatten)]
        at: HomeArgs,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Recover your account with its recovery phrase; locks out its previous devices
    Recover {
        #[command(flatten)]
        at: HomeArgs,
        /// Read the 24 words from a file (`-`: standard input) instead of prompting for them
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
    /// Use this home node; may be repeated
    #[arg(
        long,
        env = "SISKIN_NODE",
        value_name = "ADDRESS",
        required_unless_present = "bootstrap",
        value_delimiter = ' '
    )]
    pub(crate) node: Vec<NodeAddress>,
    /// Choose home nodes at random among those that this node knows
    #[arg(long, value_name = "ADDRESS", conflicts_with = "node")]
    pub(crate) bootstrap: Option<NodeAddress>,
    /// Show this name to people whom you ask to become contacts
    #[arg(long, default_value = "")]
    pub(crate) name: String,
}

#[derive(Subcommand)]
pub(crate) enum HomeCommand {
    /// List your home nodes with their status and cost
    List,
    /// Make nodes your first home nodes and keep them when home nodes are chosen again
    Pin {
        #[arg(required = true, value_name = "ADDRESS")]
        nodes: Vec<NodeAddress>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Allow nodes to be replaced when home nodes are chosen again
    Unpin {
        /// Id (`sisknode1…`) or address of a node
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Replicate your data to more of your home nodes, so that more of them may fail at once
    Copies {
        /// Number of home nodes that hold your data
        #[arg(value_parser = clap::value_parser!(u32).range(2..=4))]
        copies: u32,
        /// Show a message as stored once this many nodes have signed for it (default: as many as
        /// copies, at most 3)
        #[arg(
            long,
            alias = "receipts",
            value_name = "N",
            value_parser = clap::value_parser!(u32).range(2..=4)
        )]
        acks: Option<u32>,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List nodes that are proven to have lost messages for which they had signed
    Proofs {
        /// Write each proof to NODE.proof in this directory
        #[arg(long, value_name = "DIR")]
        save: Option<PathBuf>,
    },
    /// Check a saved proof; needs no account
    Check {
        #[arg(value_name = "FILE")]
        proof: PathBuf,
    },
    /// Migrate to the given home nodes, or to randomly chosen ones, without losing messages
    Move(MoveArgs),
}

#[derive(Args)]
pub(crate) struct MoveArgs {
    /// Addresses of the new home nodes: primary, secondary, then the reserve
    #[arg(value_name = "ADDRESS")]
    pub(crate) nodes: Vec<NodeAddress>,
    /// Choose among the nodes that this node knows (default: the local node, or a home node)
    #[arg(long, value_name = "ADDRESS", conflicts_with = "nodes")]
    pub(crate) bootstrap: Vec<NodeAddress>,
    /// Choose this many
    #[arg(
        long,
        default_value_t = 3,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=8)
    )]
    pub(crate) count: u8,
    /// Only show the new home nodes and how much is copied
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask for confirmation
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
}
