//! Reads the ids that the methods take: of conversations, accounts, nodes and messages.

use client::view::{self, ContactView, Item, MessageView, Range};
use proto::{AccountId, ConversationId, EnvelopeId, Instant, NodeAddress, Reference, Rows};

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

/// Parses the id of a conversation.
pub(super) fn conversation(id: &str) -> Result<ConversationId, Failure> {
    id.parse().map_err(|error| {
        Failure::usage(format!("`{id}` is not the id of a conversation: {error}"))
            .hint("`contact.list` has the accounts of contacts")
    })
}

/// Finds a contact by its account.
pub(super) async fn contact(engine: &Engine, account: &str) -> Result<ContactView, Failure> {
    let account: AccountId = account
        .parse()
        .map_err(|error| Failure::usage(format!("`{account}` is no account: {error}")))?;
    let found = engine.read(move |rows| view::contact(rows, &account)).await?;
    found.ok_or_else(|| client::CommandError::NoContact.into())
}

/// Fails if this device is in no such conversation.
pub(super) async fn check_known(
    engine: &Engine,
    conversation: ConversationId,
) -> Result<(), Failure> {
    match conversation {
        ConversationId::Direct(account) => {
            let found = engine.read(move |rows| view::contact(rows, &account)).await?;
            found.map(|_| ()).ok_or_else(|| client::CommandError::NoContact.into())
        }
        ConversationId::Group(_) | ConversationId::Own => {
            Err(client::CommandError::NoConversation.into())
        }
    }
}

/// Fails if another person may hold a member's keys.
pub(super) async fn check_trust(
    engine: &Engine,
    conversation: ConversationId,
) -> Result<(), Failure> {
    let ConversationId::Direct(account) = conversation else { return Ok(()) };
    let contact = engine.read(move |rows| view::contact(rows, &account)).await?;
    let Some(contact) = contact.filter(|contact| contact.forked) else { return Ok(()) };
    let message = format!("two different records of {}'s account were seen", contact.name);
    Err(Failure::new(Kind::Untrusted, message)
        .hint("another person may hold the keys; ask the contact by other means, then use --force"))
}

/// Finds a message of a conversation by its id or a prefix of it.
pub(super) async fn message(
    engine: &Engine,
    conversation: ConversationId,
    id: &str,
) -> Result<MessageView, Failure> {
    let id = id.to_ascii_lowercase();
    if id.len() < PREFIX_MIN || id.bytes().any(|digit| !digit.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!("`{id}` is not the id of a message"))
            .hint("`siskin read WHO` shows ids; give at least four digits"));
    }
    check_known(engine, conversation).await?;
    let found = engine.read(move |rows| find_message(rows, &conversation, &id)).await?;
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

fn find_message(rows: &dyn Rows, conversation: &ConversationId, id: &str) -> Vec<MessageView> {
    if let Some(reference) = reference(id) {
        let found = view::message(rows, conversation, &reference).into_iter();
        return found.filter(|message| message.key.id.to_string().starts_with(id)).collect();
    }
    let items = view::timeline(rows, conversation, Range::Latest, SEARCHED_MAX, Instant::default());
    let messages = items.into_iter().filter_map(|item| match item {
        Item::Message(message) => Some(message),
        Item::Gap { .. } => None,
    });
    messages.filter(|message| message.key.id.to_string().starts_with(id)).collect()
}

/// Parses half of an id or more, which finds a message of any age.
fn reference(id: &str) -> Option<Reference> {
    let whole = format!("{id:0<64}").parse::<EnvelopeId>().ok()?;
    (id.len() >= 32).then(|| whole.reference())
}

const PREFIX_MIN: usize = 4;
/// How many of the last messages are searched for a prefix.
const SEARCHED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_id_is_a_reference() {
        assert_eq!(reference(&"ab".repeat(32)), Some(Reference([0xab; 16])));
        assert_eq!(reference(&"ab".repeat(16)), Some(Reference([0xab; 16])));
        assert_eq!(reference("abab"), None);
        assert_eq!(reference(&"é".repeat(20)), None);
    }
}
