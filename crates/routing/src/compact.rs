//! Contacts in compact form: nodes hold hundreds of them.

use std::net::SocketAddr;

use proto::{Contact, Network, NodeId, pack, unpack};

use crate::record::NodeRecord;

/// A contact with its addresses packed: with one address it takes 63 bytes instead of 96.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompactContact {
    node: NodeId,
    nonce: u64,
    /// Each after its length.
    addresses: Box<[u8]>,
}

impl CompactContact {
    pub(crate) fn new(contact: &Contact) -> Self {
        let mut addresses = Vec::new();
        for address in &contact.addresses {
            let packed = pack(address);
            addresses.extend(u8::try_from(packed.len()));
            addresses.extend(packed);
        }
        Self { node: contact.node, nonce: contact.nonce, addresses: addresses.into() }
    }

    pub(crate) fn contact(&self) -> Contact {
        let addresses = self.addresses().collect();
        Contact { node: self.node, nonce: self.nonce, addresses }
    }

    /// Returns whether a record names the known addresses.
    pub(crate) fn is_at(&self, record: &NodeRecord) -> bool {
        self.addresses().eq(record.says().addresses.iter().copied())
    }

    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

    pub(crate) fn networks(&self) -> impl Iterator<Item = Network> + Clone {
        self.addresses().filter_map(|address| Network::of(&address))
    }

    /// Returns roughly how much memory this takes.
    pub(crate) fn state_bytes(&self) -> usize {
        size_of::<Self>().saturating_add(self.addresses.len())
    }

    fn addresses(&self) -> impl Iterator<Item = SocketAddr> + Clone {
        let mut rest = &*self.addresses;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (packed, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            unpack(packed).ok()
        })
    }
}

#[test]
fn what_was_packed_is_there() {
    let addresses = ["192.0.2.1:4440", "[2001:db8::1]:1", "10.0.0.1:65535"];
    let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    for count in 0..=addresses.len() {
        let addresses = addresses[..count].to_vec();
        let contact = Contact { node: NodeId([7; 32]), nonce: u64::MAX, addresses };
        let packed = CompactContact::new(&contact);
        assert_eq!(packed.contact(), contact);
        let networks: Vec<Network> = proto::networks(&contact.addresses).collect();
        assert_eq!(packed.networks().collect::<Vec<_>>(), networks);
    }
}
