//! Resolves what users name to ids: a contact by its name, its account or an invite link.

use client::InviteLink;
use proto::{AccountId, ConversationId};

use crate::{
    api::Call,
    engine::Engine,
    failure::Failure,
    paths::DataDir,
    rpc::{AccountShow, Contact, ContactList, ContactState, Session},
};

/// Calls a method about a conversation that the user has named.
pub(super) async fn call_in<C: Call<Target = Engine>>(
    dir: &DataDir,
    who: &str,
    method: impl FnOnce(String) -> C,
) -> Result<C::Returns, Failure> {
    let mut session = Session::open(dir).await?;
    let result = match conversation(&mut session, who).await {
        Ok(id) => session.call(method(id)).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Calls a method about a contact that the user has named.
pub(super) async fn call_about<C: Call<Target = Engine>>(
    dir: &DataDir,
    who: &str,
    method: impl FnOnce(String) -> C,
) -> Result<C::Returns, Failure> {
    let mut session = Session::open(dir).await?;
    let result = match find(&mut session, who, Among::All).await {
        Ok(contact) => session.call(method(contact.account)).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Finds a contact that can be written to.
pub(super) async fn contact(session: &mut Session, who: &str) -> Result<Contact, Failure> {
    find(session, who, Among::Conversations).await
}

/// Finds a contact whose request waits for the user, or any other if there is none of that name.
pub(super) async fn request(session: &mut Session, who: &str) -> Result<Contact, Failure> {
    let contacts = session.call(ContactList {}).await?;
    let is_asking = |contact: &&Contact| contact.state == ContactState::Asking;
    let among = if contacts.iter().filter(is_asking).any(|contact| fits(contact, who)) {
        Among::Requests
    } else {
        Among::All
    };
    pick(contacts, who, among)
}

/// Returns the id of a conversation: the one that is given, or that with a contact.
pub(super) async fn conversation(session: &mut Session, who: &str) -> Result<String, Failure> {
    match who.parse() {
        Ok(ConversationId::Group(_) | ConversationId::Own) => Ok(who.to_owned()),
        Ok(ConversationId::Direct(_)) | Err(_) => Ok(contact(session, who).await?.account),
    }
}

/// Which contacts a name may stand for. A stranger chooses the name under which he asks: it neither
/// catches what is meant for a contact nor makes the contact's name ambiguous.
#[derive(Clone, Copy, PartialEq)]
enum Among {
    All,
    /// Those with whom there is a conversation, or will be once they accept.
    Conversations,
    /// Those whose request waits for the user.
    Requests,
}

async fn find(session: &mut Session, who: &str, among: Among) -> Result<Contact, Failure> {
    let contacts = session.call(ContactList {}).await?;
    if contacts.is_empty() {
        // Fails with a better reason if there is no account either.
        session.call(AccountShow {}).await?;
    }
    pick(contacts, who, among)
}

fn pick(contacts: Vec<Contact>, who: &str, among: Among) -> Result<Contact, Failure> {
    if who.is_empty() {
        return Err(Failure::usage("the name of a contact is empty"));
    }
    if let Ok(ConversationId::Group(_) | ConversationId::Own) = who.parse() {
        return Err(client::CommandError::NoConversation.into());
    }
    let is_among = |contact: &Contact| match among {
        Among::All => true,
        Among::Conversations => !matches!(contact.state, ContactState::Asking | ContactState::None),
        Among::Requests => contact.state == ContactState::Asking,
    };
    let found = contacts.into_iter().filter(|contact| is_among(contact) && fits(contact, who));
    let mut found: Vec<Contact> = found.collect();
    match found.as_slice() {
        [_] => Ok(found.swap_remove(0)),
        [] => Err(Failure::user(format!("no contact is called `{who}`"))
            .hint("list contacts with `siskin contact list`")),
        several => {
            let accounts: Vec<_> = several.iter().map(|contact| contact.account.as_str()).collect();
            Err(Failure::user(format!("{} contacts are called `{who}`", several.len()))
                .hint(format!("name one by its account: {}", accounts.join(", "))))
        }
    }
}

/// Returns whether a contact may be meant. What looks like an account or a link is never a name:
/// anyone may call himself like another account.
fn fits(contact: &Contact, who: &str) -> bool {
    let link = who.parse::<InviteLink>().ok().map(|link| link.account);
    if let Some(account) = link.or_else(|| who.parse::<AccountId>().ok()) {
        return contact.account == account.to_string();
    }
    if who.starts_with(ACCOUNT_PREFIX) {
        let is_long = who.len() >= ACCOUNT_PREFIX.len().saturating_add(PREFIX_MIN);
        return is_long && contact.account.starts_with(who);
    }
    contact.name.to_lowercase() == who.to_lowercase()
}

const ACCOUNT_PREFIX: &str = "siskin1";
/// Characters of an account that are enough after its prefix.
const PREFIX_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn person(byte: u8, name: &str, state: ContactState) -> Contact {
        Contact {
            account: id(byte),
            name: name.into(),
            state,
            log: None,
            verified: false,
            forked: false,
            sees_other_bundle: false,
            trouble: None,
            unread: 0,
            outgoing: 0,
            waiting: 0,
        }
    }

    fn id(byte: u8) -> String {
        AccountId([byte; 32]).to_string()
    }

    /// One contact calls itself like Ben's account, one who asks like Ben; one has no name.
    fn all() -> Vec<Contact> {
        let start = id(3).get(..14).unwrap().to_owned();
        vec![
            person(1, "Ada", ContactState::Established),
            person(2, "ada", ContactState::Established),
            person(3, "Ben", ContactState::Established),
            person(4, &start, ContactState::Established),
            person(5, "ben", ContactState::Asking),
            person(6, "", ContactState::Established),
            person(7, "self", ContactState::Established),
        ]
    }

    fn found(who: &str, among: Among) -> Result<String, Failure> {
        pick(all(), who, among).map(|contact| contact.account)
    }

    #[test]
    fn a_contact_is_found_by_name_account_and_its_beginning() {
        let among = Among::Conversations;
        assert_eq!(found("BEN", among), Ok(id(3)));
        assert_eq!(found(&id(3), among), Ok(id(3)));
        assert_eq!(found(&id(3).to_uppercase(), among), Ok(id(3)));
        assert!(found("siskin1", among).is_err(), "too short");
        assert!(found("Eve", among).is_err());
        assert!(found("", among).is_err(), "not the one without a name");
        assert!(found("self", among).is_err(), "that is no name");
    }

    #[test]
    fn no_one_catches_what_is_meant_for_another_by_choosing_a_name() {
        let start = id(3).get(..14).unwrap().to_owned();
        assert_eq!(found(&start, Among::All), Ok(id(3)), "an account is never a name");
        assert_eq!(found("ben", Among::Conversations), Ok(id(3)), "not the one who asks");
        assert_eq!(found("Ben", Among::Requests), Ok(id(5)));
        for who in ["Ada", "ada", "ADA"] {
            let failure = found(who, Among::Conversations).unwrap_err();
            assert!(failure.hint.unwrap().contains("siskin1"), "{who} is ambiguous");
        }
        assert!(found("ben", Among::All).is_err(), "whose number is compared?");
    }
}
