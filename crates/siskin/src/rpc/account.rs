//! Methods of the own account, and the status of the daemon.

use std::fmt;

use client::{
    Action, Reply,
    view::{self, AccountView},
};
use crypto::identity::Phrase;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, timeout};
use zeroize::Zeroizing;

use super::{homes, resolve, types::Account};
use crate::{api::Call, engine::Engine, failure::Failure, keys};

/// A text that `Debug` doesn't show and that is wiped when dropped.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &Zeroizing<String> {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountCreate {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) nodes: Vec<String>,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

/// A new account.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Created {
    pub(crate) account: String,
    /// The recovery phrase, which is stored nowhere; absent after `account.recover`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) phrase: Option<Secret>,
    /// Whether the home node has all that contacts need to reach the account.
    pub(crate) published: bool,
    /// Why no home node accepts the account, if all have refused it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) trouble: Option<String>,
    /// The home nodes that have refused it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub(crate) refusing: Vec<String>,
}

impl Call for AccountCreate {
    const METHOD: &'static str = "account.create";
    type Target = Engine;
    type Returns = Created;

    async fn run(self, engine: &Engine) -> Result<Created, Failure> {
        let homes = resolve::nodes(&self.nodes)?;
        let phrase = Phrase::generate(&mut ChaCha20Rng::from_seed(*keys::random()?));
        let words = Secret(phrase.words());
        let name = self.name;
        let reply = engine.ask(Action::CreateAccount { phrase, name, homes }).await?;
        created(engine, account_of(reply)?, Some(words), self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountRecover {
    pub(crate) phrase: Secret,
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) nodes: Vec<String>,
    #[serde(default = "wait_default")]
    pub(crate) wait_s: u32,
}

impl Call for AccountRecover {
    const METHOD: &'static str = "account.recover";
    type Target = Engine;
    type Returns = Created;

    async fn run(self, engine: &Engine) -> Result<Created, Failure> {
        let homes = resolve::nodes(&self.nodes)?;
        let phrase = Phrase::parse(self.phrase.expose()).map_err(|error| {
            Failure::user(format!("not a recovery phrase: {error}"))
                .hint("enter the 24 words as they were shown, in the same order")
        })?;
        let action = Action::RecoverAccount { phrase, name: self.name, homes };
        let limit = Duration::from_secs(self.wait_s.max(1).into());
        let Ok(reply) = timeout(limit, engine.ask(action)).await else {
            return Err(Failure::network("no home node answered in time")
                .hint("check --node and the network; nothing was changed"));
        };
        let account = account_of(reply?)?;
        created(engine, account, None, self.wait_s).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AccountShow {}

impl Call for AccountShow {
    const METHOD: &'static str = "account.show";
    type Target = Engine;
    type Returns = Account;

    async fn run(self, engine: &Engine) -> Result<Account, Failure> {
        let view = engine.read(view::account).await?;
        Ok(view.ok_or(client::CommandError::NoAccount)?.into())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusShow {}

/// The status of the process that keeps an account online.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) account: Option<String>,
    /// Nodes that were connected, and whether they still are.
    pub(crate) links: Vec<Link>,
    pub(crate) traffic: Traffic,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Link {
    pub(crate) node: String,
    pub(crate) up: bool,
}

/// Traffic since the process started. UDP bytes are without IP and UDP headers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) udp_bytes_in: u64,
    pub(crate) udp_bytes_out: u64,
    pub(crate) udp_datagrams_in: u64,
    pub(crate) udp_datagrams_out: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
    pub(crate) disk_syncs: u64,
}

impl Call for StatusShow {
    const METHOD: &'static str = "status";
    type Target = Engine;
    type Returns = Status;

    async fn run(self, engine: &Engine) -> Result<Status, Failure> {
        let account = engine.read(view::account).await?;
        let links = engine.links().into_iter();
        let counters = engine.counters();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            account: account.map(|view| view.account.to_string()),
            links: links.map(|(node, up)| Link { node: node.to_string(), up }).collect(),
            traffic: Traffic {
                udp_bytes_in: counters.udp_bytes_in,
                udp_bytes_out: counters.udp_bytes_out,
                udp_datagrams_in: counters.udp_datagrams_in,
                udp_datagrams_out: counters.udp_datagrams_out,
                frames_in: counters.frames_in,
                frames_out: counters.frames_out,
                disk_syncs: counters.syncs,
            },
        })
    }
}

fn account_of(reply: Reply) -> Result<String, Failure> {
    match reply {
        Reply::Account(account) => Ok(account.to_string()),
        Reply::Nothing | Reply::Envelope(_) | Reply::Waiting | Reply::Link(_) => {
            Err(Failure::user("the account was not created"))
        }
    }
}

/// Waits until the home nodes have everything, or have refused it.
async fn created(
    engine: &Engine,
    account: String,
    phrase: Option<Secret>,
    wait_s: u32,
) -> Result<Created, Failure> {
    let settled = |view: &AccountView| view.published || !view.trouble.is_empty();
    let look = move |rows: &dyn proto::Rows| view::account(rows).filter(settled);
    let view = engine.until(wait_s, look).await?;
    let refusing = homes::refusing(engine, wait_s).await?;
    let trouble = view.as_ref().map(|view| view.trouble.clone()).filter(|text| !text.is_empty());
    let published = view.is_some_and(|view| view.published);
    Ok(Created { account, phrase, published, trouble, refusing })
}

fn wait_default() -> u32 {
    30
}
