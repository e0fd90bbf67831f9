//! The command line of nodes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueHint};
use proto::NodeAddress;

/// Start a node and print its address, which others need to use it
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) action: Option<NodeAction>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl NodeArgs {
    /// Returns whether a node is to run, rather than to be queried.
    pub(crate) fn runs(&self) -> bool {
        matches!(self.action, None | Some(NodeAction::Run(_)))
    }
}

#[derive(Subcommand)]
pub(crate) enum NodeAction {
    /// Run a node; `run` may be omitted
    Run(Box<RunArgs>),
    /// Show the status of the local node
    Status(DataDirArgs),
    /// Copy everything to other home nodes, before the local node is shut down permanently
    Drain(DataDirArgs),
    /// List the nodes to which the local node is connected
    Peers(DataDirArgs),
    /// Check everything that a stopped node has stored
    Verify(DataDirArgs),
    /// Write all data of a node and its key to a file; the node may keep running
    Backup {
        /// A path where there is no file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Restore a node from a backup into an empty directory; the original must never run again
    Restore {
        /// The backup
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        #[command(flatten)]
        place: DataDirArgs,
    },
}

#[derive(Args)]
pub(crate) struct DataDirArgs {
    /// The node's data directory, with its key and its rows
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    /// Read settings from this TOML file; options of the command line take precedence
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Keep the node's key and rows in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Listen on this address; may be repeated (default: port 4440 of every address)
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Vec<SocketAddr>,
    /// Advertise this address, if it differs from where the node listens; may be repeated
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) advertise: Vec<SocketAddr>,
    /// Join the network through this node, now and after restarts; may be repeated
    #[arg(long, env = "SISKIN_JOIN", value_name = "ADDRESS", value_delimiter = ' ')]
    pub(crate) join: Vec<NodeAddress>,
    /// Disable discovery of nodes on the same LAN (mDNS), in both directions
    #[arg(long)]
    pub(crate) no_mdns: bool,
    /// Publish this region, such as a country code; up to 16 bytes
    #[arg(long, value_name = "NAME")]
    pub(crate) region: Option<String>,
    /// Publish this operator: a public key in hexadecimal, or a key file. No account chooses two
    /// home nodes of one operator
    #[arg(long, value_name = "KEY|FILE", value_hint = ValueHint::FilePath)]
    pub(crate) operator: Option<String>,
    /// Refuse new data when this much is on disk (default: 8GiB)
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk_cap: Option<String>,
    /// Accept new accounts, or none (default: open)
    #[arg(long, value_name = "open|closed", value_parser = ["open", "closed"])]
    pub(crate) registration: Option<String>,
    /// Serve metrics for Prometheus at http://IP:PORT/metrics, without authentication
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) metrics: Option<SocketAddr>,
    /// Exit when stdin closes
    #[arg(long, hide = true)]
    pub(crate) exit_on_stdin_close: bool,
}
