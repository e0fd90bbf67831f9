//! Resolves what users name: contacts by name, account or link, messages by a prefix of their id.

use client::{
    InviteLink,
    view::{self, ContactView, Item, MessageView, Range},
};
use proto::{AccountId, EnvelopeId, Instant, LogId, NodeAddress, Reference, Rows};

use crate::{
    engine::Engine,
    failure::{Failure, Kind},
};

/// Parses the addresses of nodes.
pub(super) fn nodes(texts: &[String]) -> Result<Vec<NodeAddress>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|error| Failure::usage(format!("`{text}`: {error}")));
    texts.iter().map(parse).collect()
}

/// Finds a contact by name, account id, a prefix of it, or an invite link.
pub(super) async fn contact(engine: &Engine, who: &str) -> Result<ContactView, Failure> {
    let contacts = engine.read(view::contacts).await?;
    pick(contacts, who)
}

/// Finds a message of a conversation by its id or a prefix of it.
pub(super) async fn message(engine: &Engine, log: LogId, id: &str) -> Result<MessageView, Failure> {
    let id = id.to_ascii_lowercase();
    if id.len() < PREFIX_MIN || id.bytes().any(|digit| !digit.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("`{id}` is not the id of a message"))
            .hint("`siskin read WHO` shows ids; give at least four digits"));
    }
    let found = engine.read(move |rows| find_message(rows, &log, &id)).await?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(message), None) => Ok(message),
        (None, _) => Err(client::CommandError::NoMessage.into()),
        (Some(_), Some(_)) => {
            Err(Failure::user("several messages have an id that begins like that")
                .hint("give more digits of the id"))
        }
    }
}

/// Returns the log of a contact's conversation.
pub(super) fn conversation(contact: &ContactView) -> Result<LogId, Failure> {
    contact.conversation.ok_or_else(|| client::CommandError::NotAccepted.into())
}

/// Fails if another person may hold the contact's keys.
pub(super) fn check_trust(contact: &ContactView) -> Result<(), Failure> {
    if !contact.forked {
        return Ok(());
    }
    let message = format!("two different records of {}'s account were seen", contact.name);
    Err(Failure::new(Kind::Untrusted, message)
        .hint("another person may hold the keys; ask the contact by other means, then use --force"))
}

fn pick(contacts: Vec<ContactView>, who: &str) -> Result<ContactView, Failure> {
    let link = who.parse::<InviteLink>().ok().map(|link| link.account);
    let account = link.or_else(|| who.parse::<AccountId>().ok());
    let names = |wanted: &dyn Fn(&ContactView) -> bool| -> Vec<&ContactView> {
        contacts.iter().filter(|contact| wanted(contact)).collect()
    };
    let by_account = |contact: &ContactView| Some(contact.account) == account;
    let by_name = |contact: &ContactView| contact.name == who;
    let by_folded = |contact: &ContactView| contact.name.to_lowercase() == who.to_lowercase();
    let long = who.len() >= ACCOUNT_PREFIX.len().saturating_add(PREFIX_MIN);
    let by_prefix = |contact: &ContactView| {
        long && who.starts_with(ACCOUNT_PREFIX) && contact.account.to_string().starts_with(who)
    };
    let ways: [&dyn Fn(&ContactView) -> bool; 4] = [&by_account, &by_name, &by_folded, &by_prefix];
    let found = ways.into_iter().map(names).find(|found| !found.is_empty()).unwrap_or_default();
    match found.as_slice() {
        [contact] => Ok((*contact).clone()),
        [] => Err(Failure::user(format!("no contact is called `{who}`"))
            .hint("list contacts with `siskin contact list`")),
        several => {
            let accounts: Vec<_> = several.iter().map(|c| c.account.to_string()).collect();
            Err(Failure::user(format!("{} contacts are called `{who}`", several.len()))
                .hint(format!("name one by its account: {}", accounts.join(", "))))
        }
    }
}

fn find_message(rows: &dyn Rows, log: &LogId, id: &str) -> Vec<MessageView> {
    if let Some(reference) = reference(id) {
        return view::message(rows, log, &reference).into_iter().collect();
    }
    let items = view::timeline(rows, log, Range::Latest, SEARCHED_MAX, Instant::default());
    let messages = items.into_iter().filter_map(|item| match item {
        Item::Message(message) => Some(message),
        Item::Gap { .. } => None,
    });
    messages.filter(|message| message.place.id.to_string().starts_with(id)).collect()
}

/// Parses half of an id or more, which finds a message of any age.
fn reference(id: &str) -> Option<Reference> {
    let whole = format!("{id:0<64}").parse::<EnvelopeId>().ok()?;
    (id.len() >= 32).then(|| whole.reference())
}

const ACCOUNT_PREFIX: &str = "siskin1";
const PREFIX_MIN: usize = 4;
/// How many of the last messages are searched for a prefix.
const SEARCHED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use client::ContactState;

    use super::*;

    fn person(byte: u8, name: &str) -> ContactView {
        ContactView {
            account: AccountId([byte; 32]),
            name: name.into(),
            state: ContactState::Established,
            conversation: None,
            verified: false,
            forked: false,
            sees_other_bundle: false,
            trouble: String::new(),
            unread: 0,
            outgoing: 0,
            waiting: 0,
        }
    }

    #[test]
    fn a_contact_is_found_by_all_its_names() {
        let all = vec![person(1, "Ada"), person(2, "ada"), person(3, "Ben")];
        let found = |who: &str| pick(all.clone(), who).map(|contact| contact.account.0[0]);
        let account = AccountId([3; 32]).to_string();
        assert_eq!(found("Ada"), Ok(1));
        assert_eq!(found("ben"), Ok(3));
        assert_eq!(found(&account), Ok(3));
        assert_eq!(found(account.get(..14).unwrap()), Ok(3));
        assert!(found("ADA").unwrap_err().hint.unwrap().contains("siskin1"), "ambiguous");
        assert!(found("siskin1").is_err());
        assert!(found("").is_err());
    }

    #[test]
    fn half_an_id_is_a_reference() {
        assert_eq!(reference(&"ab".repeat(32)), Some(Reference([0xab; 16])));
        assert_eq!(reference(&"ab".repeat(16)), Some(Reference([0xab; 16])));
        assert_eq!(reference("abab"), None);
        assert_eq!(reference(&"é".repeat(20)), None);
    }
}
