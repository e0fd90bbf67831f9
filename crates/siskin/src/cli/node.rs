//! The command line of nodes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};
use proto::NodeAddress;

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
