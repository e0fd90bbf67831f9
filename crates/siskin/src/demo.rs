//! `siskin demo`: two people talk through two real nodes on this machine. All of them are separate
//! processes that are driven only through their sockets.

mod stage;
mod summary;

use std::time::{Duration, Instant};

use tokio::time::sleep;

use self::{
    stage::{Person, Stage, WAIT_S},
    summary::{Join, Summary, Wire, percentile},
};
use crate::{
    cli::DemoArgs,
    failure::Failure,
    output::{Output, Style, tick, write_part},
    rpc::{
        ContactAccept, ContactAdd, ContactInvite, ContactState, DeliveryStatus, MessageRead,
        StatusShow,
    },
    stop,
};

/// Plays the conversation and prints what it cost.
pub(crate) async fn run(args: DemoArgs, out: Output) -> Result<(), Failure> {
    let mut stage = Stage::new()?;
    let played = tokio::select! {
        played = Box::pin(play(&mut stage, Duration::from_millis(args.pace), out)) => played,
        () = stop::asked(false) => Err(Failure::user("interrupted")),
    };
    if let Ok(summary) = &played {
        out.result(summary, |summary| summary.show(args.keep, out));
        if args.keep {
            stop::asked(false).await;
        }
    }
    let result = played.map(|_| ()).map_err(|failure| stage.explain(failure));
    stage.end().await;
    result
}

async fn play(stage: &mut Stage, pace: Duration, out: Output) -> Result<Summary, Failure> {
    let started = Instant::now();
    let ada_node = stage.start_node("node-ada", None).await?;
    let ben_node = stage.start_node("node-ben", Some(&ada_node)).await?;
    let (mut ada, mut ben) = (stage.start_daemon("ada").await?, stage.start_daemon("ben").await?);
    ada.create_account(ada_node).await?;
    ben.create_account(ben_node).await?;
    meet(&mut ada, &mut ben).await?;
    let before = [ada.call(StatusShow {}).await?, ben.call(StatusShow {}).await?];
    let mut talk = Talk { ada, ben, pace, out, said: Vec::new(), latencies: Vec::new() };
    talk.note("ada invites, ben asks, ada accepts\n");
    for (who, what, text) in BEFORE {
        talk.say(who, what, text).await?;
    }
    let after = [talk.ada.call(StatusShow {}).await?, talk.ben.call(StatusShow {}).await?];
    let wire = Wire::new(talk.said.len(), &before, &after);
    talk.while_ben_is_dead(stage).await?;
    for (who, what, text) in AFTER {
        talk.say(who, what, text).await?;
    }
    talk.compare().await?;
    let (program, ada, ben) = (stage.program().to_owned(), stage.path("ada"), stage.path("ben"));
    Ok(Summary {
        messages: talk.said.len(),
        while_offline: MEANWHILE.len(),
        delivery_p50_ms: percentile(&talk.latencies, 50),
        delivery_p99_ms: percentile(&talk.latencies, 99),
        wire,
        seconds: started.elapsed().as_secs_f64(),
        join: Join { program, ada, ben },
    })
}

/// Makes the two contacts of each other.
async fn meet(ada: &mut Person, ben: &mut Person) -> Result<(), Failure> {
    let invite = ContactInvite { uses: 1, valid_s: 3600, wait_s: WAIT_S };
    let link = ada.call(invite).await?.link;
    ben.call(ContactAdd { link, name: ada.name.to_owned(), wait_s: WAIT_S }).await?;
    ada.until_contact(ContactState::Asking).await?;
    let contact = ada.account_of(ben.name).await?;
    ada.call(ContactAccept { contact, wait_s: WAIT_S }).await?;
    ben.until_contact(ContactState::Established).await
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
    latencies: Vec<Duration>,
}

#[derive(Clone, Copy)]
enum Who {
    Ada,
    Ben,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Says,
    /// Answers the last message.
    Replies,
}

impl Talk {
    /// Sends a message and follows it until it is read.
    async fn say(&mut self, who: Who, what: What, text: &str) -> Result<(), Failure> {
        let (author, reader, style) = match who {
            Who::Ada => (&mut self.ada, &mut self.ben, Style::Cyan),
            Who::Ben => (&mut self.ben, &mut self.ada, Style::Green),
        };
        let reply_to = self.said.last().filter(|_| what == What::Replies).cloned();
        let arrow = if reply_to.is_some() { "↳ " } else { "" };
        print(self.out, &format!("{}  {arrow}{text}", self.out.styled(style, author.name)));
        let start = Instant::now();
        let id = author.send(reader.name, text, reply_to, DeliveryStatus::Sent).await?;
        let latency = reader.hears(&id).await?.saturating_duration_since(start);
        let conversation = reader.account_of(author.name).await?;
        reader.call(MessageRead { conversation, wait_s: WAIT_S }).await?;
        author.until_message(reader.name, &id, |m| m.status == Some(DeliveryStatus::Read)).await?;
        self.said.push(id);
        self.latencies.push(latency);
        let read = tick(DeliveryStatus::Read, 0);
        self.note(&format!("  {:.1} ms  {read}", millis(latency)));
        sleep(self.pace).await;
        Ok(())
    }

    /// Kills Ben's daemon and starts it again; Ada writes in between.
    async fn while_ben_is_dead(&mut self, stage: &mut Stage) -> Result<(), Failure> {
        stage.kill("ben").await?;
        self.note("— ben's daemon is killed (kill -9) —");
        let mut waiting = Vec::new();
        for text in MEANWHILE {
            print(self.out, &format!("{}  {text}", self.out.styled(Style::Cyan, "ada")));
            waiting.push(self.ada.send("ben", text, None, DeliveryStatus::Stored).await?);
            self.note(&format!("  {}", tick(DeliveryStatus::Stored, 0)));
            sleep(self.pace).await;
        }
        let start = Instant::now();
        self.ben = stage.start_daemon("ben").await?;
        for id in &waiting {
            self.ben.until_message("ada", id, |message| message.text.is_some()).await?;
        }
        let (count, time) = (waiting.len(), millis(start.elapsed()));
        self.note(&format!("— ben is back and has all {count} after {time:.0} ms —"));
        self.said.extend(waiting);
        Ok(())
    }

    /// Fails unless both have the same messages in the same order.
    async fn compare(&mut self) -> Result<(), Failure> {
        let (ada, ben) = (self.ada.messages("ben").await?, self.ben.messages("ada").await?);
        let same = ada.iter().zip(&ben).all(|(a, b)| (&a.id, &a.text) == (&b.id, &b.text));
        if same && ada.len() == ben.len() && ada.iter().map(|message| &message.id).eq(&self.said) {
            return Ok(());
        }
        Err(Failure::user("the two don't see the same conversation"))
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

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const BEFORE: [(Who, What, &str); 9] = [
    (Who::Ada, What::Says, "Hello Ben! Can you read this?"),
    (Who::Ben, What::Replies, "Loud and clear. Who else can?"),
    (Who::Ada, What::Says, "No one. Our nodes store it, but all they see is noise."),
    (Who::Ben, What::Says, "那我们可以写中文吗？"),
    (Who::Ada, What::Says, "当然可以。"),
    (Who::Ada, What::Says, "Lunch at twelve?"),
    (Who::Ben, What::Says, "Tuesday?"),
    (Who::Ada, What::Replies, "Tuesday."),
    (Who::Ben, What::Says, "My train goes into a tunnel now."),
];
const MEANWHILE: [&str; 3] = [
    "Then I just leave these here,",
    "your node keeps them for you,",
    "and you'll have them when you are back.",
];
const AFTER: [(Who, What, &str); 3] = [
    (Who::Ben, What::Says, "All three arrived, in order."),
    (Who::Ada, What::Replies, "Good. See you at twelve, then?"),
    (Who::Ben, What::Replies, "Until Tuesday!"),
];
