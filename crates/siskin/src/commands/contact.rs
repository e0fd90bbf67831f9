//! `siskin contact`.

use super::{
    input::standard_input,
    names::{self, call_about},
};
use crate::{
    cli::ContactCommand,
    failure::Failure,
    output::{Output, Style, safe},
    paths::DataDir,
    qr,
    rpc::{
        Contact, ContactAccept, ContactAdd, ContactInvite, ContactList, ContactRemove,
        ContactRename, ContactState, ContactVerify, Invited, Session, Verified, call,
        call_caught_up,
    },
};

pub(super) async fn run(
    command: ContactCommand,
    dir: &DataDir,
    out: Output,
) -> Result<(), Failure> {
    match command {
        ContactCommand::Invite { uses, expires, qr, wait } => {
            let invite = ContactInvite { uses, valid_s: expires.as_secs(), wait_s: wait.seconds() };
            let invited = call(dir, invite).await?;
            out.result(&invited, |invited| show_invite(invited, qr));
            if !invited.published && wait.seconds() > 0 {
                let message = "the home node has not answered, so the link doesn't work yet";
                return Err(Failure::network(message).hint("run `siskin up` to finish"));
            }
        }
        ContactCommand::Add { link, name, wait } => {
            let link = if link == "-" { standard_input()? } else { link };
            let person = call(dir, ContactAdd { link, name, wait_s: wait.seconds() }).await?;
            out.result(&person, |person| show(person, out));
            if person.state == ContactState::Adding && wait.seconds() > 0 {
                let message = "no node of the link has answered, so the contact was not asked yet";
                return Err(Failure::network(message).hint("run `siskin up` to finish"));
            }
        }
        ContactCommand::Accept { who, wait } => {
            let person = accept(dir, &who, wait.seconds()).await?;
            out.result(&person, |person| show(person, out));
            if person.outgoing > 0 && wait.seconds() > 0 {
                let message = "accepted, but the node has not stored it in time";
                return Err(Failure::network(message).hint("run `siskin up` to finish"));
            }
        }
        ContactCommand::List => {
            let people = call_caught_up(dir, ContactList {}).await?;
            out.result(&people, |people| {
                let lines: Vec<_> = people.iter().map(|person| show(person, out)).collect();
                lines.join("\n")
            });
        }
        ContactCommand::Verify { who, set, unset } => {
            let verified = (set || unset).then_some(set);
            let verified =
                call_about(dir, &who, |contact| ContactVerify { contact, verified }).await?;
            out.result(&verified, |verified| show_verified(verified, out));
        }
        ContactCommand::Remove { who } => {
            let done = call_about(dir, &who, |contact| ContactRemove { contact }).await?;
            out.result(&done, |_| String::new());
        }
        ContactCommand::Rename { who, name } => {
            let person = call_about(dir, &who, |contact| ContactRename { contact, name }).await?;
            out.result(&person, |person| show(person, out));
        }
    }
    Ok(())
}

/// Accepts a request, which may be waiting at the node.
async fn accept(dir: &DataDir, who: &str, wait_s: u32) -> Result<Contact, Failure> {
    let mut session = Session::open(dir).await?;
    let result = async {
        session.catch_up().await?;
        let contact = names::request(&mut session, who).await?.account;
        session.call(ContactAccept { contact, wait_s }).await
    };
    let result = result.await;
    session.close().await?;
    result
}

fn show_invite(invited: &Invited, with_code: bool) -> String {
    let code = if with_code { qr::render(&invited.link) } else { None };
    code.map_or_else(|| invited.link.clone(), |code| format!("{}\n{code}", invited.link))
}

fn show(person: &Contact, out: Output) -> String {
    let name = if person.name.is_empty() { "(no name)".to_owned() } else { safe(&person.name) };
    let state = match person.state {
        ContactState::None => "removed",
        ContactState::Adding => "being asked",
        ContactState::Requested => "asked, not accepted yet",
        ContactState::Asking => "asks you (accept with `siskin contact accept`)",
        ContactState::Established => "contact",
    };
    let mut notes = vec![state.to_owned()];
    notes.extend(person.verified.then(|| "verified".to_owned()));
    notes.extend((person.unread > 0).then(|| format!("{} unread", person.unread)));
    notes.extend((person.outgoing > 0).then(|| format!("{} not sent yet", person.outgoing)));
    notes.extend((person.waiting > 0).then(|| format!("{} waiting", person.waiting)));
    notes.extend(person.trouble.as_ref().map(|trouble| safe(trouble)));
    notes.extend(person.forked.then(|| "IDENTITY IN DOUBT: two records seen".to_owned()));
    let seen = "has another record of your account than you";
    notes.extend(person.sees_other_bundle.then(|| seen.to_owned()));
    let account = out.styled(Style::Dim, &person.account);
    format!("{}  {account}  {}", out.styled(Style::Bold, &name), notes.join(", "))
}

fn show_verified(verified: &Verified, out: Output) -> String {
    let groups: Vec<&str> = verified.safety_number.split(' ').collect();
    let lines: Vec<String> = groups.chunks(4).map(|line| format!("  {}", line.join(" "))).collect();
    let what = match (verified.forked, verified.verified) {
        (true, _) => "Two different records of this account were seen. Don't trust it.",
        (false, true) => "You have verified this contact.",
        (false, false) => {
            "Compare it by voice or in person. If it is the same, run this again with --set."
        }
    };
    out.say(what);
    format!("{}\n{}", safe(&verified.name), lines.join("\n"))
}
