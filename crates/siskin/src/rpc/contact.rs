//! Methods of contacts.

use client::{Action, ContactState, InviteLink, Reply, view};
use proto::{AccountId, Rows};
use serde::{Deserialize, Serialize};

use super::{
    resolve,
    types::{Contact, Done},
};
use crate::{api::Call, engine::Engine, failure::Failure};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactInvite {
    #[serde(default = "uses_default")]
    pub(crate) uses: u32,
    #[serde(default = "valid_default")]
    pub(crate) valid_s: u64,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Invited {
    pub(crate) link: String,
    /// Whether the home node knows it, so that it can be used.
    pub(crate) published: bool,
}

impl Call for ContactInvite {
    const METHOD: &'static str = "contact.invite";
    type Target = Engine;
    type Returns = Invited;

    async fn run(self, engine: &Engine) -> Result<Invited, Failure> {
        let action = Action::Invite { uses: self.uses, valid_s: self.valid_s };
        let Reply::Link(link) = engine.ask(action).await? else {
            return Err(Failure::user("no invite was created"));
        };
        let look = |rows: &dyn Rows| view::account(rows).filter(|view| view.published);
        let published = engine.until(self.wait_s, look).await?.is_some();
        Ok(Invited { link: link.to_string(), published })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactAdd {
    pub(crate) link: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for ContactAdd {
    const METHOD: &'static str = "contact.add";
    type Target = Engine;
    type Returns = Contact;

    async fn run(self, engine: &Engine) -> Result<Contact, Failure> {
        let link: InviteLink = self.link.parse().map_err(|error: client::InviteLinkError| {
            Failure::user(error.to_string()).hint("quote the whole link, which contains a #")
        })?;
        let account = link.account;
        engine.ask(Action::AddContact { link, name: self.name }).await?;
        let settled = move |rows: &dyn Rows| {
            let contact = view::contact(rows, &account)?;
            (contact.state != ContactState::Adding || !contact.trouble.is_empty())
                .then_some(contact)
        };
        match engine.until(self.wait_s, settled).await? {
            Some(contact) if contact.state == ContactState::Adding => {
                Err(Failure::user(format!("can't ask the contact: {}", contact.trouble))
                    .hint("ask for a new link"))
            }
            Some(contact) => Ok(contact.into()),
            None => person(engine, account).await,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactAccept {
    pub(crate) contact: String,
    #[serde(default)]
    pub(crate) wait_s: u32,
}

impl Call for ContactAccept {
    const METHOD: &'static str = "contact.accept";
    type Target = Engine;
    type Returns = Contact;

    async fn run(self, engine: &Engine) -> Result<Contact, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?.account;
        engine.ask(Action::Accept { contact }).await?;
        let told =
            move |rows: &dyn Rows| view::contact(rows, &contact).filter(|view| view.outgoing == 0);
        engine.until(self.wait_s, told).await?;
        person(engine, contact).await
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactList {}

impl Call for ContactList {
    const METHOD: &'static str = "contact.list";
    type Target = Engine;
    type Returns = Vec<Contact>;

    async fn run(self, engine: &Engine) -> Result<Vec<Contact>, Failure> {
        let contacts = engine.read(view::contacts).await?;
        Ok(contacts.into_iter().map(Contact::from).collect())
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactVerify {
    pub(crate) contact: String,
    /// The new state; `null` leaves it as it is.
    #[serde(default)]
    pub(crate) verified: Option<bool>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verified {
    pub(crate) account: String,
    pub(crate) name: String,
    pub(crate) safety_number: String,
    pub(crate) verified: bool,
    pub(crate) forked: bool,
}

impl Call for ContactVerify {
    const METHOD: &'static str = "contact.verify";
    type Target = Engine;
    type Returns = Verified;

    async fn run(self, engine: &Engine) -> Result<Verified, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?;
        if let Some(verified) = self.verified {
            let action = Action::SetVerified { contact: contact.account, verified };
            engine.ask(action).await?;
        }
        let me = engine.read(view::account).await?.ok_or(client::CommandError::NoAccount)?;
        Ok(Verified {
            account: contact.account.to_string(),
            safety_number: view::safety_number(&me.account, &contact.account),
            verified: self.verified.unwrap_or(contact.verified),
            forked: contact.forked,
            name: contact.name,
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactRemove {
    pub(crate) contact: String,
}

impl Call for ContactRemove {
    const METHOD: &'static str = "contact.remove";
    type Target = Engine;
    type Returns = Done;

    async fn run(self, engine: &Engine) -> Result<Done, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?.account;
        engine.ask(Action::RemoveContact { contact }).await?;
        Ok(Done {})
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactRename {
    pub(crate) contact: String,
    pub(crate) name: String,
}

impl Call for ContactRename {
    const METHOD: &'static str = "contact.rename";
    type Target = Engine;
    type Returns = Contact;

    async fn run(self, engine: &Engine) -> Result<Contact, Failure> {
        let contact = resolve::contact(engine, &self.contact).await?.account;
        engine.ask(Action::Rename { contact, name: self.name }).await?;
        person(engine, contact).await
    }
}

async fn person(engine: &Engine, account: AccountId) -> Result<Contact, Failure> {
    let contact = engine.read(move |rows| view::contact(rows, &account)).await?;
    Ok(contact.ok_or(client::CommandError::NoContact)?.into())
}

fn uses_default() -> u32 {
    1
}

fn valid_default() -> u64 {
    7 * 86_400
}
