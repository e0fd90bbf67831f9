//! `siskin lookup`: has a node find a record, verifies it, and shows it.

mod asker;
mod show;

use std::time::Duration;

use crypto::{Bundle, NodeRecord};
use net::{Driver, Identity, Keys, Settings};
use proto::{Code, Hop, NodeAddress, Record, limits};
use store::Memory;
use tokio::time::timeout;

use self::asker::{Asker, Question, Word};
use crate::{
    cli::{LookupArgs, Sought},
    commands,
    failure::{Failure, Kind},
    keys, node,
    output::Output,
    paths::Home,
    rpc::AccountShow,
};

/// What was found, verified here: nobody's word is taken for it.
pub(super) enum Found {
    Account(Box<Bundle>),
    Node(Box<NodeRecord>),
}

pub(crate) async fn run(args: LookupArgs, home: &Home, out: Output) -> Result<(), Failure> {
    let LookupArgs { what, node, trace } = args;
    let node = match node.into_iter().next() {
        Some(node) => node,
        None => some_node(home).await?,
    };
    let (record, hops) = ask(&node, what, trace).await?;
    let found = record.map(|record| verify(&record, what)).transpose()?;
    let shown = show::Shape::new(what, found.as_ref(), trace.then_some(hops.as_slice()));
    if found.is_some() || trace {
        out.result(&shown, |shown| shown.describe(out));
    }
    match found {
        Some(_) => Ok(()),
        None => Err(Failure::user("the network does not know it")
            .hint("check the name; a new account takes a moment to be known everywhere")),
    }
}

/// The node that runs here, or one at which the account here is at home.
async fn some_node(home: &Home) -> Result<NodeAddress, Failure> {
    let parse = |text: &str| {
        text.parse().map_err(|error| Failure::user(format!("a node's address `{text}`: {error}")))
    };
    if let Ok(status) = node::ask_status(&home.node()).await {
        return parse(&status.address);
    }
    let nowhere = || {
        Failure::usage("no node runs here and there is no account here")
            .hint("say whom to ask with --node ADDRESS")
    };
    if !home.master_key().exists() {
        return Err(nowhere());
    }
    let account = commands::call(home, AccountShow {}).await?;
    parse(account.nodes.first().ok_or_else(nowhere)?)
}

/// Asks a node as a device would that nobody knows.
async fn ask(
    node: &NodeAddress,
    what: Sought,
    trace: bool,
) -> Result<(Option<Record>, Vec<Hop>), Failure> {
    let settings = Settings::new(Keys::One(Identity::from_seed(*keys::random()?)));
    let question = Question { node: node.clone(), target: what.key(), trace };
    let mut running = Driver::<Asker>::start(settings, question, Memory::new()).await?;
    let unreachable = || {
        Failure::network(format!("{} does not answer", node.node))
            .hint("check --node and the network; the node may be down")
    };
    let mut events = running.take_events().ok_or_else(unreachable)?;
    let answer = timeout(ANSWER_MAX, events.recv()).await;
    running.shutdown().await?;
    match answer {
        Ok(Some(Word::Found(record, hops))) => Ok((record, hops)),
        Ok(Some(Word::Refused(Code::Busy))) => {
            let failure = Failure::new(Kind::RateLimited, "the node is busy");
            Err(failure.hint("try again in a moment, or ask another with --node ADDRESS"))
        }
        Ok(Some(Word::Refused(code))) => Err(Failure::user(format!("the node refuses: {code:?}"))
            .hint("it may be older than this program; ask another with --node ADDRESS")),
        Ok(None) | Err(_) => Err(unreachable()),
    }
}

fn verify(record: &Record, what: Sought) -> Result<Found, Failure> {
    let forged = || {
        Failure::new(Kind::Untrusted, "the node answers with a record that does not verify")
            .hint("ask another one with --node ADDRESS")
    };
    match (record, what) {
        (Record::Account(bytes), Sought::Account(account)) => {
            let bundle = Bundle::verify(bytes).map_err(|_| forged())?;
            let is_it = bundle.account() == account;
            is_it.then(|| Found::Account(Box::new(bundle))).ok_or_else(forged)
        }
        (Record::Node(bytes), Sought::Node(node)) => {
            let record = NodeRecord::verify(bytes, limits::NODE_WORK_BITS).map_err(|_| forged())?;
            let is_it = record.node() == node;
            is_it.then(|| Found::Node(Box::new(record))).ok_or_else(forged)
        }
        (Record::Account(_) | Record::Node(_), _) => Err(forged()),
    }
}

/// A handshake, and a lookup in which every path waits for nodes that are gone.
const ANSWER_MAX: Duration = Duration::from_secs(30);
