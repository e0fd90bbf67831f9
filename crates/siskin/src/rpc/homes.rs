//! Methods of the account's home nodes.

use client::{
    Action,
    view::{self, ConvictionView, CostView, HomeView, HomesView},
};
use proto::{NodeAddress, NodeId, Rows, networks};
use serde::{Deserialize, Serialize};

use super::resolve;
use crate::{api::Call, engine::Engine, failure::Failure};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeList {}

/// Makes these the home nodes, the first two of which are active.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeSet {
    pub(crate) nodes: Vec<String>,
    /// Nodes (`sisknode1…`) that are kept when home nodes are chosen again.
    #[serde(default)]
    pub(crate) pinned: Vec<String>,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

/// Sets how many home nodes hold the account's data.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeCopies {
    pub(crate) copies: u32,
    /// How many nodes have to sign for a message until its status is stored.
    pub(crate) acks: u32,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

/// Lists proofs that nodes have lost entries for which they had signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HomeProofs {}

/// A proof that a node has lost an entry for which it had signed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) node: String,
    /// The id of the entry, and its log.
    pub(crate) entry: String,
    pub(crate) log: String,
    /// When it was found, in seconds since the Unix epoch.
    pub(crate) at: u64,
    /// A `LossProof` of `spec/proto/records.proto`, in hexadecimal.
    pub(crate) proof: String,
}

/// The home nodes of an account, and their cost.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Homes {
    pub(crate) homes: Vec<Home>,
    /// How many of them are to hold the account's data.
    pub(crate) copies: u32,
    /// How many nodes have to sign for a message until its status is stored.
    pub(crate) acks: u32,
    /// The next home nodes, during a migration.
    pub(crate) next: Vec<String>,
    /// Previous home nodes that have yet to be notified or to hand over their inbox.
    pub(crate) previous: Vec<String>,
    /// Nodes that have yet to learn which nodes hold a conversation.
    #[serde(default)]
    pub(crate) unannounced: Vec<String>,
    /// Previous home nodes that are proven faulty.
    pub(crate) proven_faulty: Vec<String>,
    /// Whether the home node has all that contacts need to reach the account.
    pub(crate) published: bool,
    /// Why the next home node refuses the account.
    pub(crate) trouble: Option<String>,
    pub(crate) cost: Cost,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Home {
    pub(crate) address: String,
    /// The /24 or /48 of its public address, if it has one.
    pub(crate) network: Option<String>,
    pub(crate) pinned: bool,
    /// Whether it is active: primary or secondary.
    pub(crate) active: bool,
    /// Whether it is to hold inbox and conversations; the others are in reserve.
    pub(crate) has_copies: bool,
    /// Why it refuses to.
    pub(crate) trouble: Option<String>,
    /// Whether it is proven to have lost an entry for which it had signed.
    pub(crate) proven_faulty: bool,
    /// Whether the account is connected to it.
    pub(crate) up: bool,
    /// Round-trip time; this and the next three are only known if the node was asked and answered.
    pub(crate) round_trip_ms: Option<f64>,
    pub(crate) operator: Option<String>,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) region: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) conversations: u64,
    pub(crate) entries: u64,
    /// Bytes of all entries, counted once.
    pub(crate) bytes: u64,
    /// Bytes of all copies.
    pub(crate) bytes_stored: u64,
    /// The least and the greatest number of nodes that hold a conversation.
    pub(crate) copies_min: u64,
    pub(crate) copies_max: u64,
    /// Entries that are sent again to another home node.
    pub(crate) unacknowledged: u64,
}

impl Call for HomeList {
    const METHOD: &'static str = "home.list";
    type Target = Engine;
    type Returns = Homes;

    async fn run(self, engine: &Engine) -> Result<Homes, Failure> {
        list(engine).await
    }
}

impl Call for HomeSet {
    const METHOD: &'static str = "home.set";
    type Target = Engine;
    type Returns = Homes;

    async fn run(self, engine: &Engine) -> Result<Homes, Failure> {
        let homes = resolve::nodes(&self.nodes)?;
        let pinned = self.pinned.iter().map(|node| {
            node.parse::<NodeId>().map_err(|error| Failure::usage(format!("`{node}`: {error}")))
        });
        let pinned = pinned.collect::<Result<Vec<_>, _>>()?;
        engine.ask(Action::Move { homes, pinned }).await?;
        engine.until(self.wait_s, settled).await?;
        refusing(engine, self.wait_s).await?;
        list(engine).await
    }
}

impl Call for HomeCopies {
    const METHOD: &'static str = "home.copies";
    type Target = Engine;
    type Returns = Homes;

    async fn run(self, engine: &Engine) -> Result<Homes, Failure> {
        let Self { copies, acks, wait_s } = self;
        engine.ask(Action::WantCopies { copies, acks }).await?;
        engine.until(wait_s, settled).await?;
        list(engine).await
    }
}

impl Call for HomeProofs {
    const METHOD: &'static str = "home.proofs";
    type Target = Engine;
    type Returns = Vec<Proof>;

    async fn run(self, engine: &Engine) -> Result<Vec<Proof>, Failure> {
        let convictions = engine.read(view::convictions).await?;
        Ok(convictions.into_iter().map(Proof::from).collect())
    }
}

impl From<ConvictionView> for Proof {
    fn from(ConvictionView { proof, at_s }: ConvictionView) -> Self {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            node: proof.node.to_string(),
            entry: proof.envelope.id().to_string(),
            log: proof.envelope.head.log.to_string(),
            at: at_s,
            proof: hex(proof.encode()),
        }
    }
}

/// Returns something if a migration is complete or has failed.
fn settled(rows: &dyn Rows) -> Option<()> {
    let homes = view::homes(rows)?;
    let published = view::account(rows)?.published;
    let told = homes.next.is_empty() && homes.previous.is_empty() && homes.unannounced.is_empty();
    (told && published || !homes.trouble.is_empty()).then_some(())
}

/// Returns the home nodes that refuse the account. Waits at most [`OTHERS_WAIT_S`] for all of them
/// to answer: an unreachable one must not delay the rest.
pub(super) async fn refusing(engine: &Engine, wait_s: u32) -> Result<Vec<String>, Failure> {
    let all_have_answered = |rows: &dyn Rows| {
        let homes = view::homes(rows)?.homes;
        let mut served = homes.iter().filter(|home| home.active);
        served.all(|home| home.settled || !home.trouble.is_empty()).then_some(())
    };
    engine.until(wait_s.min(OTHERS_WAIT_S), all_have_answered).await?;
    let homes = engine.read(view::homes).await?.map(|view| view.homes).unwrap_or_default();
    let refusing = homes.iter().filter(|home| !home.trouble.is_empty());
    Ok(refusing.map(|home| home.address.to_string()).collect())
}

async fn list(engine: &Engine) -> Result<Homes, Failure> {
    let look = |rows: &dyn Rows| Some((view::homes(rows)?, view::account(rows)?.published));
    let view = engine.read(look).await?;
    let (view, published) = view.ok_or(client::CommandError::NoAccount)?;
    let links = engine.links();
    let is_up = |node: &NodeId| links.get(node).copied().unwrap_or_default();
    Ok(answer(view, published, is_up))
}

fn answer(view: HomesView, published: bool, is_up: impl Fn(&NodeId) -> bool) -> Homes {
    let text = |nodes: Vec<NodeAddress>| nodes.iter().map(ToString::to_string).collect();
    let home = |home: HomeView| Home {
        network: networks(&home.address.addresses).next().map(|network| network.to_string()),
        up: is_up(&home.address.node),
        address: home.address.to_string(),
        pinned: home.pinned,
        active: home.active,
        has_copies: home.has_copies,
        trouble: Some(home.trouble).filter(|trouble| !trouble.is_empty()),
        proven_faulty: home.proven_faulty,
        round_trip_ms: None,
        operator: None,
        capacity_bytes: None,
        region: None,
    };
    let CostView { logs, entries, bytes, bytes_stored, copies, unacknowledged } = view.cost;
    Homes {
        homes: view.homes.into_iter().map(home).collect(),
        copies: view.copies,
        acks: view.acks,
        next: text(view.next),
        previous: text(view.previous),
        unannounced: text(view.unannounced),
        proven_faulty: view.proven_faulty.iter().map(ToString::to_string).collect(),
        published,
        trouble: Some(view.trouble).filter(|trouble| !trouble.is_empty()),
        cost: Cost {
            conversations: logs,
            entries,
            bytes,
            bytes_stored,
            copies_min: copies.0,
            copies_max: copies.1,
            unacknowledged,
        },
    }
}

/// Seconds for the other home nodes to answer after the first has accepted.
const OTHERS_WAIT_S: u32 = 3;
