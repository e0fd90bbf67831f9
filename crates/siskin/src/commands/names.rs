//! Resolves what users name to ids: a contact by its name, its account or an invite link.

use client::InviteLink;
use proto::{AccountId, ConversationId};

use crate::{
    api::Call,
    engine::Engine,
    failure::Failure,
    paths::DataDir,
    rpc::{Contact, ContactList, Session},
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
    let result = match account(&mut session, who).await {
        Ok(account) => session.call(method(account)).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Finds a contact by its name, its account or the beginning of it, or an invite link. Returns its
/// account.
pub(super) async fn account(session: &mut Session, who: &str) -> Result<String, Failure> {
    Ok(contact(session, who).await?.account)
}

/// Finds a contact in the same way.
pub(super) async fn contact(session: &mut Session, who: &str) -> Result<Contact, Failure> {
    pick(session.call(ContactList {}).await?, who)
}

/// Returns the id of a conversation: the one that is given, or that with a contact.
pub(super) async fn conversation(session: &mut Session, who: &str) -> Result<String, Failure> {
    match who.parse() {
        Ok(ConversationId::Group(_) | ConversationId::Own) => Ok(who.to_owned()),
        Ok(ConversationId::Direct(_)) | Err(_) => account(session, who).await,
    }
}

fn pick(mut contacts: Vec<Contact>, who: &str) -> Result<Contact, Failure> {
    let link = who.parse::<InviteLink>().ok().map(|link| link.account);
    let account = link.or_else(|| who.parse::<AccountId>().ok()).map(|account| account.to_string());
    let long = who.len() >= ACCOUNT_PREFIX.len().saturating_add(PREFIX_MIN);
    let by_account = |contact: &Contact| Some(&contact.account) == account.as_ref();
    let by_name = |contact: &Contact| contact.name == who;
    let by_folded = |contact: &Contact| contact.name.to_lowercase() == who.to_lowercase();
    let by_prefix = |contact: &Contact| {
        long && who.starts_with(ACCOUNT_PREFIX) && contact.account.starts_with(who)
    };
    let ways: [&dyn Fn(&Contact) -> bool; 4] = [&by_account, &by_name, &by_folded, &by_prefix];
    let found = ways.into_iter().map(|fits| {
        let numbered = contacts.iter().enumerate().filter(|(_, contact)| fits(contact));
        numbered.map(|(number, _)| number).collect::<Vec<_>>()
    });
    let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    match found.as_slice() {
        [number] => Ok(contacts.swap_remove(*number)),
        [] => Err(Failure::user(format!("no contact is called `{who}`"))
            .hint("list contacts with `siskin contact list`")),
        several => {
            let accounts = several.iter().filter_map(|number| contacts.get(*number));
            let accounts: Vec<_> = accounts.map(|contact| contact.account.as_str()).collect();
            Err(Failure::user(format!("{} contacts are called `{who}`", several.len()))
                .hint(format!("name one by its account: {}", accounts.join(", "))))
        }
    }
}

const ACCOUNT_PREFIX: &str = "siskin1";
/// Characters of an account that are enough after its prefix.
const PREFIX_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::ContactState;

    fn person(byte: u8, name: &str) -> Contact {
        Contact {
            account: AccountId([byte; 32]).to_string(),
            name: name.into(),
            state: ContactState::Established,
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

    #[test]
    fn a_contact_is_found_by_all_its_names() {
        let all = || vec![person(1, "Ada"), person(2, "ada"), person(3, "Ben")];
        let id = |byte| AccountId([byte; 32]).to_string();
        let found = |who: &str| pick(all(), who).map(|contact| contact.account);
        let account = id(3);
        assert_eq!(found("Ada"), Ok(id(1)));
        assert_eq!(found("ben"), Ok(id(3)));
        assert_eq!(found(&account), Ok(id(3)));
        assert_eq!(found(account.get(..14).unwrap()), Ok(id(3)));
        assert!(found("ADA").unwrap_err().hint.unwrap().contains("siskin1"), "ambiguous");
        assert!(found("siskin1").is_err());
        assert!(found("").is_err());
    }
}
