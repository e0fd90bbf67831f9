//! `siskin send`, `edit`, `delete`, `react`, `read`, `tail` and `rekey`.

use super::input::text;
use crate::{
    cli::{DeleteArgs, EditArgs, ReactArgs, ReadArgs, RekeyArgs, SendArgs, TailArgs, WaitArgs},
    failure::Failure,
    output::{self, Output, Style, date, safe, safe_lines},
    paths::DataDir,
    rpc::{
        ContactVerify, ConversationRekey, DeliveryStatus, Event, Item, Message, MessageDelete,
        MessageEdit, MessageList, MessageReact, MessageRead, MessageSend, SentMessage, Session,
        Subscribe, call,
    },
    stop,
};

pub(super) async fn send(args: SendArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let SendArgs { who, text: given, reply_to, force, wait } = args;
    let text = text(given)?;
    let send = MessageSend { contact: who, text, reply_to, force, wait_s: wait.seconds() };
    said(&call(dir, send).await?, wait, out)
}

pub(super) async fn edit(args: EditArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let EditArgs { who, id, text: given, wait } = args;
    let edit = MessageEdit { contact: who, id, text: text(given)?, wait_s: wait.seconds() };
    said(&call(dir, edit).await?, wait, out)
}

pub(super) async fn delete(args: DeleteArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let DeleteArgs { who, id, wait } = args;
    let delete = MessageDelete { contact: who, id, wait_s: wait.seconds() };
    said(&call(dir, delete).await?, wait, out)
}

pub(super) async fn react(args: ReactArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let ReactArgs { who, id, emoji, wait } = args;
    let react = MessageReact { contact: who, id, emoji, wait_s: wait.seconds() };
    said(&call(dir, react).await?, wait, out)
}

pub(super) async fn rekey(args: RekeyArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let rekey = ConversationRekey { contact: args.who, wait_s: args.wait.seconds() };
    said(&call(dir, rekey).await?, args.wait, out)
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
    let list = MessageList { contact: who.clone(), limit: n, before };
    let items = session.call(list).await?;
    let name = session.call(ContactVerify { contact: who.clone(), verified: None }).await?.name;
    out.result(&items, |items| {
        let lines: Vec<_> = items.iter().map(|item| show(item, &name, out)).collect();
        lines.join("\n")
    });
    if marks_read && !items.is_empty() {
        let wait_s = if session.is_here() { wait.seconds() } else { 0 };
        session.call(MessageRead { contact: who, wait_s }).await?;
    }
    Ok(())
}

pub(super) async fn tail(args: TailArgs, dir: &DataDir, out: Output) -> Result<(), Failure> {
    let mut session = Session::open(dir).await?;
    let only = match args.who {
        Some(contact) => {
            Some(session.call(ContactVerify { contact, verified: None }).await?.account)
        }
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
            Some(Event::Message { contact, name, arrival, message })
                if only.as_ref().is_none_or(|only| *only == contact) =>
            {
                let event = Event::Message { contact, name, arrival, message };
                out.result(&event, |event| show_event(event, out));
            }
            Some(_) => {}
        }
    }
}

fn said(said: &SentMessage, wait: WaitArgs, out: Output) -> Result<(), Failure> {
    out.result(said, |said| said.id.clone().unwrap_or_default());
    match said.mark {
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
    if let Some(mark) = message.mark {
        line.push_str(
            &out.styled(Style::Dim, &format!("  {}", output::tick(mark, message.stored_on.len()))),
        );
    }
    line
}

const ID_SHOWN: usize = 8;
/// Indentation of the second and further lines of a text.
const INDENT: usize = 4;
