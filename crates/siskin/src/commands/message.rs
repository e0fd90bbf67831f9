//! `siskin send`, `edit`, `delete`, `react`, `read`, `tail` and `rekey`.

use super::{
    input::text,
    names::{self, call_in},
};
use crate::{
    cli::{DeleteArgs, EditArgs, ReactArgs, ReadArgs, RekeyArgs, SendArgs, TailArgs, WaitArgs},
    failure::Failure,
    output::{self, Output, Style, date, safe, safe_lines},
    paths::DataDir,
    rpc::{
        ConversationRekey, DeliveryStatus, Event, Item, Message, MessageDelete, MessageEdit,
        MessageList, MessageReact, MessageRead, MessageSend, SentMessage, Session, Subscribe,
    },
    stop,
};

pub(super) async fn send(args: SendArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let SendArgs { who, text: given, reply_to, force, wait } = args;
    let text = text(given)?;
    let wait_s = wait.seconds();
    let send = |conversation| MessageSend { conversation, text, reply_to, force, wait_s };
    sent(&call_in(dir, &who, send).await?, wait, out)
}

pub(super) async fn edit(args: EditArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let EditArgs { who, id, text: given, wait } = args;
    let (text, wait_s) = (text(given)?, wait.seconds());
    let edit = |conversation| MessageEdit { conversation, id, text, wait_s };
    sent(&call_in(dir, &who, edit).await?, wait, out)
}

pub(super) async fn delete(args: DeleteArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let DeleteArgs { who, id, wait } = args;
    let delete = |conversation| MessageDelete { conversation, id, wait_s: wait.seconds() };
    sent(&call_in(dir, &who, delete).await?, wait, out)
}

pub(super) async fn react(args: ReactArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let ReactArgs { who, id, emoji, wait } = args;
    let react = |conversation| MessageReact { conversation, id, emoji, wait_s: wait.seconds() };
    sent(&call_in(dir, &who, react).await?, wait, out)
}

pub(super) async fn rekey(args: RekeyArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let RekeyArgs { who, wait } = args;
    let rekey = |conversation| ConversationRekey { conversation, wait_s: wait.seconds() };
    sent(&call_in(dir, &who, rekey).await?, wait, out)
}

pub(super) async fn read(args: ReadArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let mut session = Session::open(dir).await?;
    session.catch_up().await?;
    let result = read_in(&mut session, args, out).await;
    session.close().await?;
    result
}

async fn read_in(session: &mut Session, args: ReadArgs, out: Output) -> Result<(), Failure> {
    let ReadArgs { who, n, before, peek, wait } = args;
    let marks_read = !peek && before.is_none();
    let contact = names::contact(session, &who).await?;
    let (conversation, name) = (contact.account, contact.name);
    let list = MessageList { conversation: conversation.clone(), limit: n, before };
    let items = session.call(list).await?;
    out.result(&items, |items| {
        let lines: Vec<_> = items.iter().map(|item| show(item, &name, out)).collect();
        lines.join("\n")
    });
    if marks_read && !items.is_empty() {
        let wait_s = if session.is_here() { wait.seconds() } else { 0 };
        session.call(MessageRead { conversation, wait_s }).await?;
    }
    Ok(())
}

pub(super) async fn tail(args: TailArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let mut session = Session::open(dir).await?;
    let only = match args.who {
        Some(who) => Some(names::conversation(&mut session, &who).await?),
        None => None,
    };
    let mut stream = session.subscribe(Subscribe::default()).await?;
    let mut stop = std::pin::pin!(stop::asked(false));
    loop {
        let event = tokio::select! {
            event = stream.next() => event?,
            () = &mut stop => return Ok(()),
        };
        match event {
            None => return Err(Failure::user("the daemon has stopped")),
            Some(event @ Event::Message { .. }) if is_wanted(&event, only.as_deref()) => {
                out.result(&event, |event| show_event(event, out));
            }
            Some(_) => {}
        }
    }
}

fn is_wanted(event: &Event, only: Option<&str>) -> bool {
    let Event::Message { conversation, .. } = event else { return false };
    only.is_none_or(|only| only == conversation)
}

fn sent(sent: &SentMessage, wait: WaitArgs, out: Output) -> Result<(), Failure> {
    out.result(sent, |sent| sent.id.clone().unwrap_or_default());
    match sent.status {
        DeliveryStatus::Waiting => {
            out.say("The message is sent when the contact accepts.");
            Ok(())
        }
        DeliveryStatus::Sent if wait.seconds() > 0 => {
            Err(Failure::network("the node has not stored it in time")
                .hint("it stays in the outbox; run `siskin up` to send it"))
        }
        DeliveryStatus::Sent
        | DeliveryStatus::Stored
        | DeliveryStatus::Delivered
        | DeliveryStatus::Read
        | DeliveryStatus::Refused => Ok(()),
    }
}

fn show_event(event: &Event, out: Output) -> String {
    match event {
        Event::Message { name, message, .. } => {
            let from = if message.own { format!("you → {name}") } else { name.clone() };
            show_message(message, &from, out)
        }
        Event::Timeline { .. }
        | Event::Contacts
        | Event::Account
        | Event::Typing { .. }
        | Event::Link { .. }
        | Event::Sent { .. }
        | Event::Resync => String::new(),
    }
}

fn show(item: &Item, name: &str, out: Output) -> String {
    match item {
        Item::Message(message) => {
            show_message(message, if message.own { "you" } else { name }, out)
        }
        Item::Gap { waiting } => out.styled(
            Style::Yellow,
            &format!("  (messages are missing here; {waiting} later entries wait for them)"),
        ),
    }
}

fn show_message(message: &Message, from: &str, out: Output) -> String {
    let id = message.id.get(..ID_SHOWN).unwrap_or(&message.id);
    let head = out.styled(Style::Dim, &format!("{}  {id}", date(message.sent_at)));
    let from = out.styled(if message.own { Style::Cyan } else { Style::Green }, &safe(from));
    let text = match &message.text {
        Some(text) => safe_lines(text, INDENT),
        None => out.styled(Style::Dim, "(deleted)"),
    };
    let mut line = format!("{head}  {from}  ");
    if let Some(target) = &message.reply_to {
        let target = target.get(..ID_SHOWN).unwrap_or(target);
        line.push_str(&out.styled(Style::Dim, &format!("(re {target}) ")));
    }
    line.push_str(&text);
    if message.edited && message.text.is_some() {
        line.push_str(&out.styled(Style::Dim, " (edited)"));
    }
    for emoji in message.reactions.values() {
        line.push_str(&format!(" [{}]", safe(emoji)));
    }
    if let Some(status) = message.status {
        line.push_str(
            &out.styled(
                Style::Dim,
                &format!("  {}", output::tick(status, message.stored_on.len())),
            ),
        );
    }
    line
}

const ID_SHOWN: usize = 8;
/// Indentation of the second and further lines of a text.
const INDENT: usize = 4;
