//! Discovery of nodes on the same LAN by multicast DNS (RFC 6762 and 6763). Each node announces its
//! addresses and joins through the nodes that it discovers. Announcements are not authenticated: a
//! node that is dialled must prove its key.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ::node::NodeCommand;
use mdns_sd::{ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use proto::{NodeAddress, NodeId};

use super::handle::NodeHandle;

/// Announces a node until dropped.
pub(super) struct Discovery(ServiceDaemon);

impl Discovery {
    /// Starts to announce and to listen. Returns nothing if only this machine can reach the node,
    /// or if multicast is not available: discovery is optional.
    pub(super) fn start(address: &NodeAddress, handle: &Arc<NodeHandle>) -> Option<Self> {
        let is_local = |address: &SocketAddr| address.ip().is_loopback();
        if address.addresses.iter().all(is_local) {
            return None;
        }
        let begin = || -> Result<Self, mdns_sd::Error> {
            let daemon = ServiceDaemon::new()?;
            daemon.register(describe(address)?)?;
            let heard = daemon.browse(SERVICE)?;
            let (own, handle) = (address.node, Arc::clone(handle));
            tokio::spawn(async move {
                let mut met = BTreeSet::from([own]);
                while let Ok(event) = heard.recv_async().await {
                    if let ServiceEvent::ServiceResolved(service) = event
                        && let Some(found) = found(&service)
                        && is_new(&mut met, found.node)
                    {
                        tracing::info!(node = ?found.node, "discovered on the LAN");
                        handle.tell(NodeCommand::Join(found)).await;
                    }
                }
            });
            Ok(Self(daemon))
        };
        let begun = begin();
        begun.inspect_err(|error| tracing::warn!(%error, "can't discover nodes on the LAN")).ok()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        // Withdraws the announcement on its own thread, without waiting for that.
        let _ = self.0.shutdown();
    }
}

fn describe(address: &NodeAddress) -> Result<ServiceInfo, mdns_sd::Error> {
    let node = address.node.to_string();
    // A name has at most 63 bytes; the whole id is among the properties.
    let name = node.get(..NAME_LEN).unwrap_or(&node);
    let ips: Vec<IpAddr> = address.addresses.iter().map(SocketAddr::ip).collect();
    let port = address.addresses.first().map_or(0, SocketAddr::port);
    let at: Vec<String> = address.addresses.iter().map(ToString::to_string).collect();
    let properties = [(NODE, node.clone()), (AT, at.join(","))];
    let host = format!("{name}.local.");
    ServiceInfo::new(SERVICE, name, &host, ips.as_slice(), port, properties.as_slice())
}

fn found(service: &ResolvedService) -> Option<NodeAddress> {
    let (node, at) = (service.get_property_val_str(NODE)?, service.get_property_val_str(AT)?);
    format!("{node}@{at}").parse().ok()
}

/// Limits joining to once through each node and to a few nodes, which know the others.
fn is_new(met: &mut BTreeSet<NodeId>, node: NodeId) -> bool {
    met.len() <= MET_MAX && met.insert(node)
}

const SERVICE: &str = "_siskin._udp.local.";
const NODE: &str = "node";
const AT: &str = "at";
const NAME_LEN: usize = 40;
/// Nodes of one LAN that are joined through.
const MET_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_understood() {
        let addresses = ["192.0.2.7:4440", "[2001:db8::1]:4440"].map(|text| text.parse().unwrap());
        let address = NodeAddress { node: NodeId([7; 32]), addresses: addresses.to_vec() };
        let service = describe(&address).unwrap().as_resolved_service();
        assert_eq!(found(&service), Some(address));
    }

    #[test]
    fn only_so_many_are_joined_through_and_each_once() {
        let mut met = BTreeSet::from([NodeId([0; 32])]);
        assert!(!is_new(&mut met, NodeId([0; 32])), "oneself");
        let new = (1..=200).filter(|number| is_new(&mut met, NodeId([*number; 32])));
        assert_eq!(new.count(), MET_MAX);
    }
}
