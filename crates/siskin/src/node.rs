//! `siskin node`: a service node.

mod backup;
mod backup_file;
mod handle;
mod mdns;
mod methods;
mod metrics;
mod reach;
mod rows;
mod settings;
mod show;
mod verify;

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::node::{Node, NodeCommand, NodeConfig};
use crypto::SigningKey;
use net::{Driver, Identity, Keys, Running, Settings, StartError};
use proto::{NodeAddress, NodeId};
use routing::RouterConfig;
use serde::Serialize;
use store::Fjall;
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::{handle::NodeHandle, mdns::Discovery, methods::NodeApi, settings::NodeSettings};
use crate::{
    api::{HttpServer, Server},
    cli::{DataDirArgs, NodeAction, NodeArgs, RunArgs},
    failure::Failure,
    keys,
    output::Output,
    paths::{self, DataDir},
    stop,
};

pub(crate) use show::ask_status;

/// What a node prints when it has started.
#[derive(Serialize)]
struct Address {
    node: String,
    address: String,
    data_dir: PathBuf,
    /// Where its metrics are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<SocketAddr>,
}

/// Runs a node, or queries or maintains one.
pub(crate) async fn run(args: NodeArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let at = |place: DataDirArgs| place.data_dir.unwrap_or_else(|| dir.node());
    match args.action {
        None => serve(args.run, dir, out).await,
        Some(NodeAction::Run(run)) => serve(*run, dir, out).await,
        Some(NodeAction::Status(place)) => show::status(&at(place), out).await,
        Some(NodeAction::Drain(place)) => show::drain(&at(place), out).await,
        Some(NodeAction::Peers(place)) => show::peers(&at(place), out).await,
        Some(NodeAction::Verify(place)) => verify::run(&at(place), out),
        Some(NodeAction::Backup { file, place }) => backup::back_up(&at(place), &file, out).await,
        Some(NodeAction::Restore { file, place }) => backup::restore(&at(place), &file, out),
    }
}

/// Runs a node until it is asked to stop.
async fn serve(args: RunArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let exit_on_stdin_close = args.exit_on_stdin_close;
    let settings = settings::read(args, dir)?;
    let directory = &settings.data_dir;
    paths::private_directory(directory)
        .map_err(|error| Failure::io(directory.display(), &error))?;
    // The lock of the store comes first: a second process must not change anything.
    let store = rows::open(directory)?;
    let seed = keys::load_or_make(&directory.join("node.key"))?;
    let identity = Identity::from_seed(*seed);
    let node = NodeId(identity.public().0);
    let metrics_server = match settings.metrics {
        Some(address) => Some(HttpServer::bind(address).await?),
        None => None,
    };
    let config = configure(node, SigningKey::from_seed(*seed), &settings);
    let mut running = start(&identity, &settings.listen, config, store, directory).await?;
    let addresses = match settings.advertise.as_slice() {
        [] => reach::reachable(&running.local_addresses()).await,
        advertised => advertised.to_vec(),
    };
    let address = NodeAddress { node, addresses };
    let handle = NodeHandle::new(running.commands());
    if let Some(events) = running.take_events() {
        tokio::spawn(Arc::clone(&handle).dispatch(events));
    }
    // The port is known only now.
    handle.tell(NodeCommand::Addresses(address.addresses.clone())).await;
    for other in &settings.join {
        handle.tell(NodeCommand::Join(other.clone())).await;
    }
    let _discovery = settings.mdns.then(|| Discovery::start(&address, &handle)).flatten();
    let mut server = Server::bind(&paths::node_socket(directory))?;
    let told = Address {
        node: node.to_string(),
        address: address.to_string(),
        data_dir: directory.clone(),
        metrics: metrics_server.as_ref().map(HttpServer::address),
    };
    if let Some(server) = metrics_server {
        let router = metrics::router(Arc::clone(&handle), running.meter());
        tokio::spawn(server.serve(router, metrics::LIMITS));
    }
    out.result(&told, |told| told.address.clone());
    tokio::spawn(report_disk(running.commands(), directory.clone()));
    let api = Arc::new(NodeApi {
        handle: Arc::clone(&handle),
        address: told.address,
        reader: running.reader(),
        directory: directory.clone(),
    });
    let ended = tokio::select! {
        () = stop::asked(exit_on_stdin_close) => None,
        error = running.stopped() => Some(error.into()),
        failure = server.serve(&api) => Some(failure),
    };
    server.close().await;
    match ended {
        Some(failure) => Err(failure),
        None => leave(running, &handle).await,
    }
}

/// Hands over records that were stored for other nodes, for at most [`LEAVE_MAX`], and stops.
async fn leave(running: Running<Node>, handle: &NodeHandle) -> Result<(), Failure> {
    tracing::info!("the node is stopping");
    handle.tell(NodeCommand::Leave).await;
    if timeout(LEAVE_MAX, handle.left()).await.is_err() {
        tracing::warn!("some records that were stored for other nodes could not be handed over");
    }
    Ok(running.shutdown().await?)
}

fn configure(node: NodeId, key: SigningKey, settings: &NodeSettings) -> NodeConfig {
    let routing = RouterConfig {
        addresses: settings.advertise.clone(),
        region: settings.region.clone(),
        operator: settings.operator,
        ..RouterConfig::new(key.clone())
    };
    NodeConfig {
        registration: settings.registration,
        disk_cap_bytes: settings.disk_cap_bytes,
        account_quota_bytes: settings.account_quota_bytes,
        reserve_after: settings.reserve_after,
        reserve_kept: settings.reserve_kept,
        routing: Some(routing),
        key: Some(key),
        ..NodeConfig::new(node)
    }
}

/// Listens on the given addresses, or on the default port of all addresses.
async fn start(
    identity: &Identity,
    listen: &[SocketAddr],
    config: NodeConfig,
    store: Fjall,
    directory: &Path,
) -> Result<Running<Node>, Failure> {
    let settings = |listen: Vec<SocketAddr>| Settings {
        listen: Some(listen),
        ..Settings::new(Keys::One(identity.clone()))
    };
    if !listen.is_empty() {
        return Ok(Driver::start(settings(listen.to_vec()), config, store).await?);
    }
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), PORT);
    match Driver::start(settings(vec![both]), config.clone(), store).await {
        Ok(running) => Ok(running),
        // The machine has no IPv6.
        Err(StartError::Bind(_, error)) if error.kind() != std::io::ErrorKind::AddrInUse => {
            let old = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
            Ok(Driver::start(settings(vec![old]), config, rows::open(directory)?).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Reports periodically to the node how much disk its store occupies.
async fn report_disk(commands: tokio::sync::mpsc::Sender<NodeCommand>, directory: PathBuf) {
    let mut ticks = interval(DISK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let bytes = disk_bytes(&directory);
        if commands.send(NodeCommand::DiskUsed(bytes)).await.is_err() {
            return;
        }
    }
}

/// Returns the disk usage of a directory. Files may come and go in the meantime.
fn disk_bytes(directory: &Path) -> u64 {
    let mut total = 0_u64;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let bytes = match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
            Ok(metadata) => metadata.blocks().saturating_mul(512),
            Err(_) => 0,
        };
        total = total.saturating_add(bytes);
    }
    total
}

const PORT: u16 = 4440;
const DISK_EVERY: Duration = Duration::from_secs(10);
/// Enough for a few thousand records over open connections. A shutdown must not wait for
/// unreachable nodes.
const LEAVE_MAX: Duration = Duration::from_secs(3);
