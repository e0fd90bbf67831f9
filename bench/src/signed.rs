//! What devices sign: records of accounts, entries, and proofs with which they open logs.

use anyhow::Result;
use crypto::{
    OPEN_CONTEXT, SigningKey,
    identity::{Authority, Bundle, Device, InboxKey, Phrase, UnsignedRecord},
    open_proof_message,
};
use proto::{
    Body, Cursor, Expiry, Extension, Head, Kind, LogGenesis, LogId, NodeAddress, NodeId, Open,
    Peer, Ranking,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// An account with one device, all from one seed.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) device: SigningKey,
    pub(crate) bundle: Bundle,
    /// Randomness that nothing else uses.
    pub(crate) rng: ChaCha20Rng,
}

impl Account {
    pub(crate) fn new(seed: [u8; 32], homes: Vec<NodeAddress>) -> Result<Self> {
        let mut rng = ChaCha20Rng::from_seed(seed);
        let phrase = Phrase::generate(&mut rng);
        let device = SigningKey::from_seed(seed);
        let bundle = Authority::create(&phrase, &mut rng).sign_record(UnsignedRecord {
            version: 1,
            devices: vec![Device { key: device.public(), added_s: 1 }],
            homes,
            copies: 2,
            inbox_key: InboxKey::from_seed(seed).public(),
        })?;
        Ok(Self { device, bundle, rng })
    }

    pub(crate) fn inbox(&self) -> LogGenesis {
        LogGenesis::Inbox(self.bundle.account())
    }
}

/// The head of an entry that never expires.
pub(crate) fn head(key: &SigningKey, log: LogId, position: u64) -> Head {
    Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position,
        log,
        write_key: key.public(),
        extension: Extension::default(),
    }
}

/// A connection of a device to a node, once both have said Hello.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Greeted {
    pub(crate) node: NodeId,
    pub(crate) node_nonce: [u8; 16],
    pub(crate) device: Peer,
    pub(crate) nonce: [u8; 16],
}

/// A log to be opened as a channel.
#[derive(Debug)]
pub(crate) struct OpenLog<'a> {
    pub(crate) channel: u32,
    pub(crate) genesis: LogGenesis,
    pub(crate) key: &'a SigningKey,
    pub(crate) ranking: Option<Ranking>,
    pub(crate) follow: bool,
}

impl Greeted {
    pub(crate) fn open(&self, opening: OpenLog<'_>) -> Body {
        let Self { node, node_nonce, device, nonce } = self;
        let OpenLog { channel, genesis, key, ranking, follow } = opening;
        let log = genesis.id();
        let message = open_proof_message(node_nonce, nonce, device, node, &log, channel);
        Body::Open(Open {
            channel,
            log,
            key: key.public(),
            proof: key.sign(OPEN_CONTEXT, &message),
            genesis: Some(genesis.encode()),
            tail: follow.then_some(Cursor::default()),
            announce: false,
            ranking: ranking.map(Box::new),
        })
    }
}
