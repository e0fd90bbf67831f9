//! `siskin node`: one service node.

mod settings;

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use ::node::{LAYOUT_NAME, LAYOUT_VERSION, Node, NodeCommand, NodeConfig, NodeEvent};
use net::{Driver, Events, Identity, Keys, Running, Settings, StartError};
use proto::{NodeAddress, NodeId, limits};
use serde::Serialize;
use store::{Fjall, Layout};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    cli::NodeArgs,
    failure::Failure,
    keys,
    output::Output,
    paths::{self, Home},
    stop,
};

/// What a node says when it is there.
#[derive(Serialize)]
struct Address {
    node: String,
    address: String,
    data_dir: PathBuf,
}

/// Runs a node until it is asked to end.
pub(crate) async fn run(args: NodeArgs, home: &Home, out: Output) -> Result<(), Failure> {
    let leashed = args.leashed;
    let settings = settings::read(args, home)?;
    let directory = &settings.data_dir;
    paths::private_directory(directory)
        .map_err(|error| Failure::io(directory.display(), &error))?;
    // The store's lock comes first: a second process must not touch anything.
    let store = open(directory)?;
    let seed = keys::load_or_make(&directory.join("node.key"))?;
    let identity = Identity::from_seed(*seed);
    let node = NodeId(identity.public().0);
    let config = NodeConfig {
        registration: settings.registration,
        disk_cap_bytes: settings.disk_cap_bytes,
        account_quota_bytes: settings.account_quota_bytes,
        ..NodeConfig::new(node)
    };
    let mut running = start(&identity, &settings.listen, config, store, directory).await?;
    let address = NodeAddress {
        node,
        addresses: match settings.advertise.as_slice() {
            [] => reachable(&running.local_addresses()).await,
            advertised => advertised.to_vec(),
        },
    };
    let told = Address {
        node: node.to_string(),
        address: address.to_string(),
        data_dir: directory.clone(),
    };
    out.result(&told, |told| told.address.clone());
    if let Some(events) = running.take_events() {
        tokio::spawn(log_events(events));
    }
    tokio::spawn(report_disk(running.commands(), directory.clone()));
    tokio::select! {
        () = stop::asked(leashed) => {
            tracing::info!("the node ends");
            Ok(running.shutdown().await?)
        }
        error = running.stopped() => Err(error.into()),
    }
}

fn open(directory: &Path) -> Result<Fjall, Failure> {
    let layout = Layout { name: LAYOUT_NAME, version: LAYOUT_VERSION, migrations: &[] };
    Ok(Fjall::open(directory, &layout)?)
}

/// Listens where it was told, or wherever the machine lets it on the usual port.
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
        // A machine without IPv6.
        Err(StartError::Bind(_, error)) if error.kind() != std::io::ErrorKind::AddrInUse => {
            let old = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
            Ok(Driver::start(settings(vec![old]), config, open(directory)?).await?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Under which addresses others on this machine's networks find it.
async fn reachable(listening: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in listening {
        let ips = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => outward(&[TOWARDS_V4]).await,
            IpAddr::V6(ip) if ip.is_unspecified() => outward(&[TOWARDS_V4, TOWARDS_V6]).await,
            ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => vec![ip],
        };
        addresses.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, address.port())));
    }
    addresses.truncate(limits::NODE_ADDRESSES_MAX);
    addresses
}

/// This machine's own addresses on the way to these; nothing is sent there.
async fn outward(towards: &[SocketAddr]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in towards {
        let any: IpAddr = match address {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let Ok(socket) = tokio::net::UdpSocket::bind((any, 0)).await else { continue };
        if socket.connect(address).await.is_ok() {
            found.extend(socket.local_addr().map(|local| local.ip()));
        }
    }
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

async fn log_events(mut events: Events<NodeEvent>) {
    while let Some(event) = events.recv().await {
        match event {
            NodeEvent::Registered(account) => tracing::info!(?account, "registered"),
            NodeEvent::Counters(counters) => tracing::info!(?counters, "counted"),
            other => tracing::info!(?other, "told"),
        }
    }
}

/// Tells the node now and then what its store takes on disk.
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

/// What a directory and all below it takes on disk. Files may come and go meanwhile.
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
/// Of the ranges for documentation: never somebody's.
const TOWARDS_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9);
const TOWARDS_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);
