//! `siskin demo`: two people talk through two real nodes on this machine. All of them are separate
//! processes that are driven only through their sockets.

mod people;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use self::people::{Person, Processes};
use crate::{
    cli::DemoArgs,
    failure::Failure,
    output::{Output, Style, tick, write_part},
    rpc::{ContactState, DeliveryStatus},
    stop,
};

/// Plays the conversation and prints what it cost.
pub(crate) async fn run(args: DemoArgs, out: Output) -> Result<(), Failure> {
    let mut processes = Processes::new()?;
    let played = tokio::select! {
        played = Box::pin(play(&mut processes, Duration::from_millis(args.pace), out)) => played,
        () = stop::asked(false) => Err(Failure::user("interrupted")),
    };
    if let Ok(summary) = &played {
        out.result(summary, |summary| show(summary, args.keep, out));
        if args.keep {
            stop::asked(false).await;
        }
    }
    processes.end().await;
    played.map(drop)
}

async fn play(all: &mut Processes, pace: Duration, out: Output) -> Result<Value, Failure> {
    let started = Instant::now();
    let ada_node = all.node("node-ada", None).await?;
    let ben_node = all.node("node-ben", Some(&ada_node)).await?;
    let (mut ada, mut ben) = (all.daemon("ada").await?, all.daemon("ben").await?);
    ada.create_account(ada_node).await?;
    ben.create_account(ben_node).await?;
    let link = ada.invite().await?;
    ben.add_contact("ada", link).await?;
    ada.until_contact(ContactState::Asking).await?;
    ada.accept(&ben.account).await?;
    ben.until_contact(ContactState::Established).await?;
    let mut talk = Talk { ada, ben, pace, out, said: Vec::new(), took: Vec::new() };
    talk.note("ada invites, ben asks, ada accepts\n");

    let before = talk.traffic().await?;
    talk.say(Who::Ada, "Hello Ben! Can you read this?").await?;
    talk.reply(Who::Ben, "Loud and clear. Who else can?").await?;
    talk.say(Who::Ada, "No one. Our nodes store it, but all they see is noise.").await?;
    talk.say(Who::Ben, "那我们可以写中文吗？").await?;
    talk.say(Who::Ada, "当然可以。").await?;
    talk.say(Who::Ada, "Lunch at twelve?").await?;
    talk.say(Who::Ben, "Tuesday?").await?;
    talk.reply(Who::Ada, "Tuesday.").await?;
    talk.say(Who::Ben, "My train goes into a tunnel now.").await?;
    let (counted, after) = (talk.said.len(), talk.traffic().await?);

    all.kill("ben").await?;
    talk.note("— ben's daemon is killed (kill -9) —");
    talk.leave("Then I just leave these here,").await?;
    talk.leave("your node keeps them for you,").await?;
    talk.leave("and you'll have them when you are back.").await?;
    let (left, back) = (talk.said.len().saturating_sub(counted), Instant::now());
    talk.ben = all.daemon("ben").await?;
    talk.ben.until_all(&talk.ada.account, &talk.said).await?;
    talk.note(&format!("— ben is back and has all {left} after {:.0} ms —", ms(back.elapsed())));
    talk.say(Who::Ben, "All three arrived, in order.").await?;
    talk.reply(Who::Ada, "Good. See you at twelve, then?").await?;
    talk.reply(Who::Ben, "Until Tuesday!").await?;
    talk.ada.until_all(&talk.ben.account, &talk.said).await?;
    talk.ben.until_all(&talk.ada.account, &talk.said).await?;

    let per_message = |bytes: fn((u64, u64)) -> u64| {
        bytes(after).saturating_sub(bytes(before)).checked_div(counted as u64)
    };
    Ok(json!({
        "messages": talk.said.len(),
        "while_offline": left,
        "delivery_p50_ms": percentile(&talk.took, 50),
        "delivery_p99_ms": percentile(&talk.took, 99),
        "wire": {
            "messages": counted,
            "to_nodes_per_message": per_message(|(to_nodes, _)| to_nodes),
            "from_nodes_per_message": per_message(|(_, from_nodes)| from_nodes),
        },
        "seconds": started.elapsed().as_secs_f64(),
        "join": { "program": all.program(), "ada": all.path("ada"), "ben": all.path("ben") },
    }))
}

/// The conversation so far.
struct Talk {
    ada: Person,
    ben: Person,
    /// Between two messages.
    pace: Duration,
    out: Output,
    /// The ids of all messages.
    said: Vec<String>,
    /// From the request to send to the reader's event, with the disk syncs of both people and their
    /// nodes; without messages that waited.
    took: Vec<Duration>,
}

#[derive(Clone, Copy)]
enum Who {
    Ada,
    Ben,
}

impl Talk {
    async fn say(&mut self, who: Who, text: &str) -> Result<(), Failure> {
        self.send(who, text, None).await
    }

    /// Answers the last message.
    async fn reply(&mut self, who: Who, text: &str) -> Result<(), Failure> {
        let last = self.said.last().cloned();
        self.send(who, text, last).await
    }

    /// Sends a message and follows it until it is read.
    async fn send(&mut self, who: Who, text: &str, to: Option<String>) -> Result<(), Failure> {
        let (author, reader, style) = match who {
            Who::Ada => (&mut self.ada, &mut self.ben, Style::Cyan),
            Who::Ben => (&mut self.ben, &mut self.ada, Style::Green),
        };
        let arrow = if to.is_some() { "↳ " } else { "" };
        print(self.out, &format!("{}  {arrow}{text}", self.out.styled(style, author.name)));
        let start = Instant::now();
        let id = author.send(&reader.account, text, to, DeliveryStatus::Sent).await?;
        let took = reader.hears(&id).await?.saturating_duration_since(start);
        reader.read(&author.account).await?;
        author.until_read(&reader.account, &id).await?;
        self.said.push(id);
        self.took.push(took);
        self.note(&format!("  {:.1} ms  {}", ms(took), tick(DeliveryStatus::Read, 0)));
        sleep(self.pace).await;
        Ok(())
    }

    /// Ada leaves a message at Ben's node.
    async fn leave(&mut self, text: &str) -> Result<(), Failure> {
        print(self.out, &format!("{}  {text}", self.out.styled(Style::Cyan, "ada")));
        let id = self.ada.send(&self.ben.account, text, None, DeliveryStatus::Stored).await?;
        self.said.push(id);
        self.note(&format!("  {}", tick(DeliveryStatus::Stored, 0)));
        sleep(self.pace).await;
        Ok(())
    }

    /// Bytes of IP packets so far: to nodes, from nodes.
    async fn traffic(&mut self) -> Result<(u64, u64), Failure> {
        let (ada, ben) = (self.ada.traffic().await?, self.ben.traffic().await?);
        Ok((ada.0.saturating_add(ben.0), ada.1.saturating_add(ben.1)))
    }

    fn note(&self, text: &str) {
        print(self.out, &format!("{}\n", self.out.styled(Style::Dim, text)));
    }
}

fn print(out: Output, text: &str) {
    if !out.is_json() {
        write_part(text);
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The value below which `percent` of all are, by nearest rank, in milliseconds.
fn percentile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().map_or(0.0, ms)
}

/// What was measured, and how to join by hand.
fn show(summary: &Value, keep: bool, out: Output) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or_default();
    let in_part = |part: &str, name: &str| summary.get(part)?.get(name);
    let wire = |way| in_part("wire", way).and_then(Value::as_u64).unwrap_or_default();
    let join = |what, later| {
        in_part("join", what).and_then(Value::as_str).filter(|_| keep).unwrap_or(later)
    };
    let (messages, left) = (&summary["messages"], &summary["while_offline"]);
    let head = format!("{messages} messages, {left} of them while the reader was dead");
    let [ada, ben] = [join("ada", "DIR/ada"), join("ben", "DIR/ben")];
    let program = join("program", "siskin");
    format!(
        "\n{}\n\
         delivery   p50 {:.1} ms, p99 {:.1} ms, each synced to the nodes' disks\n\
         wire       {} bytes to nodes and {} bytes from nodes per message, with receipts\n\
         time       {:.1} s\n\n{}\n  \
         {program} --dir {ada} tail\n  \
         {program} --dir {ben} send ada 'Hello from the demo'",
        out.styled(Style::Bold, &head),
        number(&summary["delivery_p50_ms"]),
        number(&summary["delivery_p99_ms"]),
        wire("to_nodes_per_message"),
        wire("from_nodes_per_message"),
        number(&summary["seconds"]),
        if keep { NOW } else { LATER },
    )
}

const NOW: &str = "Join in, each command in its own terminal; everything runs until Ctrl-C:";
const LATER: &str =
    "To join in, run `siskin demo --keep`; then, with the directory that it prints:";

#[test]
fn percentiles_are_nearest_ranks() {
    let times: Vec<_> = (1..=10).rev().map(Duration::from_millis).collect();
    let near = |percent, wanted: f64| (percentile(&times, percent) - wanted).abs() < 1e-9;
    assert!(near(50, 5.0) && near(99, 10.0));
    assert!(percentile(&[], 50).abs() < 1e-9);
}
