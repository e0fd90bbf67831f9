//! `siskin lookup`: asks a node for a record, verifies it and shows it.

mod asker;
mod found;
mod show;

use std::time::Duration;

use crypto::node::NodeRecord;
use net::{Driver, Identity, Keys, Settings};
use proto::{Code, NodeAddress, limits};
use store::Memory;
use tokio::time::timeout;

use self::{
    asker::{Answer, Ask, Asker, Question, Word},
    found::{Found, verify},
};
use crate::{
    cli::{LookupArgs, Sought},
    failure::{Failure, Kind},
    keys, node,
    output::Output,
    paths::DataDir,
    rpc::{self, AccountShow},
};

pub(crate) async fn run(args: LookupArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let LookupArgs { what, node, trace } = args;
    let node = match node.into_iter().next() {
        Some(node) => node,
        None => some_node(dir).await?,
    };
    let question = Ask::Lookup { target: what.key(), trace };
    let (record, hops) = match ask(&node, question, ANSWER_MAX).await?.word {
        Word::Found(record, hops) => (record, hops),
        Word::Sampled(_) | Word::Refused(_) => (None, Vec::new()),
    };
    let found = record.map(|record| verify(&record, what)).transpose()?;
    let shown = show::LookupResult::new(what, found.as_ref(), trace.then_some(hops.as_slice()));
    if found.is_some() || trace {
        out.result(&shown, |shown| shown.describe(out));
    }
    match found {
        Some(_) => Ok(()),
        None => Err(Failure::user("the network does not know it")
            .hint("check the id; a new account is known everywhere only after some seconds")),
    }
}

/// Asks a node for other nodes, drawn at random, with its round-trip time to each. Omits those
/// whose record doesn't verify.
pub(crate) async fn sample(node: &NodeAddress) -> Result<Vec<(NodeRecord, Duration)>, Failure> {
    let Word::Sampled(nodes) = ask(node, Ask::Sample, SAMPLE_MAX).await?.word else {
        return Ok(Vec::new());
    };
    let verified = nodes.iter().filter_map(|(bytes, millis)| {
        let record = NodeRecord::verify(bytes, limits::NODE_WORK_BITS).ok()?;
        Some((record, Duration::from_millis((*millis).into())))
    });
    Ok(verified.collect())
}

/// Asks a node for its own record. Returns it with the round-trip time.
pub(crate) async fn look_at(node: &NodeAddress) -> Result<(Option<NodeRecord>, Duration), Failure> {
    let what = Sought::Node(node.node);
    let question = Ask::Lookup { target: what.key(), trace: false };
    let answer = ask(node, question, LOOK_MAX).await?;
    let found = match answer.word {
        Word::Found(Some(record), _) => Some(verify(&record, what)?),
        Word::Found(None, _) | Word::Sampled(_) | Word::Refused(_) => None,
    };
    let record = match found {
        Some(Found::Node(record)) => Some(*record),
        Some(Found::Account(_)) | None => None,
    };
    Ok((record, answer.round_trip))
}

/// Returns the address of the local node, or of a home node of the local account.
pub(crate) async fn some_node(dir: &DataDir) -> Result<NodeAddress, Failure> {
    let parse = |text: &str| {
        text.parse().map_err(|error| Failure::user(format!("node address `{text}`: {error}")))
    };
    if let Ok(status) = node::ask_status(&dir.node()).await {
        return parse(&status.address);
    }
    let nowhere = || {
        Failure::usage("no node runs here and there is no account here")
            .hint("name a node with --node ADDRESS")
    };
    if !dir.master_key().exists() {
        return Err(nowhere());
    }
    let account = rpc::call(dir, AccountShow {}).await?;
    parse(account.nodes.first().ok_or_else(nowhere)?)
}

/// Asks a node with a new transport key, as an unknown device.
async fn ask(node: &NodeAddress, ask: Ask, patience: Duration) -> Result<Answer, Failure> {
    let settings = Settings::new(Keys::One(Identity::from_seed(*keys::random()?)));
    let question = Question { node: node.clone(), ask };
    let mut running = Driver::<Asker>::start(settings, question, Memory::new()).await?;
    let unreachable = || {
        Failure::network(format!("{} does not answer", node.node))
            .hint("check --node and the network; the node may be down")
    };
    let mut events = running.take_events().ok_or_else(unreachable)?;
    let answer = timeout(patience, events.recv()).await;
    running.shutdown().await?;
    match answer {
        Ok(Some(Answer { word: Word::Refused(Code::Busy), .. })) => {
            let failure = Failure::new(Kind::RateLimited, "the node is busy");
            Err(failure.hint("try again later, or ask another node with --node ADDRESS"))
        }
        Ok(Some(Answer { word: Word::Refused(code), .. })) => {
            Err(Failure::user(format!("the node refuses: {code:?}"))
                .hint("it may be older than this program; ask another node with --node ADDRESS"))
        }
        Ok(Some(answer)) => Ok(answer),
        Ok(None) | Err(_) => Err(unreachable()),
    }
}

/// A handshake, and a lookup in which every path waits for unreachable nodes.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// A handshake, and a record that the node has stored.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// All lookups of a sample.
const SAMPLE_MAX: Duration = Duration::from_secs(60);
