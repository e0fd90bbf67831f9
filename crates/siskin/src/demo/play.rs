//! Playing: what people do, and waiting until it has really happened.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::{
    script::{Act, Line, Who},
    stage::{Stage, Told},
    summary::{Join, Summary, Wire, percentile},
};
use crate::{
    api::Call,
    engine::Engine,
    failure::Failure,
    output::{Output, Style, safe, tick, write_part},
    rpc::{
        AccountCreate, ContactAccept, ContactAdd, ContactInvite, ContactList, ContactState,
        DeliveryStatus, Event, Item, Message, MessageDelete, MessageEdit, MessageList,
        MessageReact, MessageRead, MessageSend, Secret, StatusShow, Traffic,
    },
};

pub(super) struct Play<'a> {
    stage: &'a mut Stage,
    pace: Duration,
    out: Output,
    started: Instant,
    offline: Option<Who>,
    /// All texts in the order in which they were said.
    said: Vec<(Who, String)>,
    /// When a text came into the other's timeline.
    arrived: BTreeMap<String, Instant>,
    /// Texts that a dead person does not have.
    owed: Vec<String>,
    while_offline: usize,
    delivery: Vec<Duration>,
    before: Vec<Traffic>,
    wire: Option<Wire>,
}

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a mut Stage, pace: Duration, out: Output) -> Self {
        Self {
            stage,
            pace,
            out,
            started: Instant::now(),
            offline: None,
            said: Vec::new(),
            arrived: BTreeMap::new(),
            owed: Vec::new(),
            while_offline: 0,
            delivery: Vec::new(),
            before: Vec::new(),
            wire: None,
        }
    }

    /// Makes two accounts that know each other.
    pub(super) async fn meet(&mut self) -> Result<(), Failure> {
        for who in Who::BOTH {
            let (name, nodes) = (who.name().to_owned(), vec![self.stage.node(who)]);
            let create = AccountCreate { name, nodes, wait_s: WAIT_S };
            let created = self.call(who, create).await?;
            let account = shorten(&created.account);
            let (name, node) = (who.name(), shorten(&self.stage.node(who)));
            self.note(&format!("{name} is {account}, at home at {node}"));
        }
        let invite = ContactInvite { uses: 1, valid_s: 3600, wait_s: WAIT_S };
        let link = self.call(Who::Ada, invite).await?.link;
        let name = Who::Ada.name().to_owned();
        self.call(Who::Ben, ContactAdd { link, name, wait_s: WAIT_S }).await?;
        self.until_state(Who::Ada, ContactState::Asking).await?;
        let contact = Who::Ben.name().to_owned();
        self.call(Who::Ada, ContactAccept { contact, wait_s: WAIT_S }).await?;
        self.until_state(Who::Ben, ContactState::Established).await?;
        self.note("ada invites, ben asks, ada accepts\n");
        Ok(())
    }

    pub(super) async fn perform(mut self, script: &[Line]) -> Result<Summary, Failure> {
        self.before = self.traffic().await?;
        for line in script {
            match line {
                Line::Act(who, act) => self.act(*who, act).await?,
                Line::Offline(who) => self.go_offline(*who).await?,
                Line::Online(who) => self.come_back(*who).await?,
            }
            sleep(self.pace).await;
        }
        self.measure().await?;
        self.compare().await?;
        Ok(Summary {
            messages: self.said.len(),
            while_offline: self.while_offline,
            delivery_p50_ms: percentile(&self.delivery, 50),
            delivery_p99_ms: percentile(&self.delivery, 99),
            wire: self.wire.unwrap_or_default(),
            seconds: self.started.elapsed().as_secs_f64(),
            join: Join {
                program: self.stage.program().to_owned(),
                ada: self.stage.home(Who::Ada),
                ben: self.stage.home(Who::Ben),
            },
        })
    }

    async fn act(&mut self, who: Who, act: &Act) -> Result<(), Failure> {
        let contact = who.other().name().to_owned();
        match act {
            Act::Say(text) => self.say(who, text, None).await,
            Act::Reply(text) => {
                let target = self.said.last().map(|(_, id)| id.clone());
                self.say(who, text, target).await
            }
            Act::Edit(text) => {
                let id = self.last_of(who)?;
                self.show(who, &format!("changes it to: {}", safe(text)));
                let (target, text) = (id.clone(), Secret::new(text.clone()));
                self.call(who, MessageEdit { contact, id, text, wait_s: WAIT_S }).await?;
                self.until_shown(who.other(), &target, |message| message.edited).await
            }
            Act::Delete => {
                let id = self.last_of(who)?;
                self.show(who, "takes it back");
                let target = id.clone();
                self.call(who, MessageDelete { contact, id, wait_s: WAIT_S }).await?;
                self.until_shown(who.other(), &target, |message| message.text.is_none()).await
            }
            Act::React(emoji) => {
                let id = self.last_of(who.other())?;
                self.show(who, &format!("reacts {}", safe(emoji)));
                let (target, emoji) = (id.clone(), emoji.clone());
                self.call(who, MessageReact { contact, id, emoji, wait_s: WAIT_S }).await?;
                self.until_shown(who.other(), &target, |message| !message.reactions.is_empty())
                    .await
            }
        }
    }

    /// Says something and follows it until it is read, or stored if nobody is there to read it.
    async fn say(&mut self, who: Who, text: &str, reply_to: Option<String>) -> Result<(), Failure> {
        let arrow = if reply_to.is_some() { "↳ " } else { "" };
        self.part(&format!("{}  {arrow}{}", self.name(who), safe(text)));
        let contact = who.other().name().to_owned();
        let text = Secret::new(text.to_owned());
        let sent = Instant::now();
        let send = MessageSend { contact, text, reply_to, force: false, wait_s: 0 };
        let said = self.call(who, send).await?;
        let id = said.id.ok_or_else(|| Failure::user("a message waits for acceptance"))?;
        self.said.push((who, id.clone()));
        let away = self.offline == Some(who.other());
        let goal = if away { DeliveryStatus::Stored } else { DeliveryStatus::Read };
        let (mut mark, mut told_read) = (said.mark, away);
        while mark < goal {
            if !told_read && let Some(at) = self.arrived.get(&id).copied() {
                told_read = true;
                let time = at.saturating_duration_since(sent);
                self.delivery.push(time);
                self.part(&self.dim(&format!("  {:.1} ms", time.as_secs_f64() * 1000.0)));
                let contact = who.name().to_owned();
                self.call(who.other(), MessageRead { contact, wait_s: 0 }).await?;
            }
            let now = self.mark(who, &id).await?;
            if now > mark {
                mark = now;
                self.part(&self.dim(&format!("  {}", tick(mark, 0))));
            }
            if mark < goal && (told_read || !self.arrived.contains_key(&id)) {
                self.hear().await?;
            }
        }
        self.part("\n");
        if away {
            self.owed.push(id);
            self.while_offline = self.while_offline.saturating_add(1);
        }
        if mark == DeliveryStatus::Refused {
            return Err(Failure::user("a node refused a message"));
        }
        Ok(())
    }

    async fn go_offline(&mut self, who: Who) -> Result<(), Failure> {
        self.measure().await?;
        self.stage.kill_daemon(who).await?;
        self.offline = Some(who);
        self.note(&format!("— {}'s daemon is killed (kill -9) —", who.name()));
        Ok(())
    }

    async fn come_back(&mut self, who: Who) -> Result<(), Failure> {
        let start = Instant::now();
        self.stage.start_daemon(who).await?;
        self.offline = None;
        let owed = std::mem::take(&mut self.owed);
        for id in &owed {
            self.until_shown(who, id, |message| message.text.is_some()).await?;
        }
        let contact = who.other().name().to_owned();
        self.call(who, MessageRead { contact, wait_s: 0 }).await?;
        if let Some(last) = owed.last() {
            while self.mark(who.other(), last).await? < DeliveryStatus::Read {
                self.hear().await?;
            }
        }
        let (count, time) = (owed.len(), start.elapsed().as_secs_f64() * 1000.0);
        let name = who.name();
        self.note(&format!("— {name} is back and has all {count} after {time:.0} ms —"));
        Ok(())
    }

    /// Both must have the same texts in the same order.
    async fn compare(&mut self) -> Result<(), Failure> {
        let mut seen = Vec::new();
        for who in Who::BOTH {
            let all = self.messages(who, PAGE).await?;
            seen.push(
                all.into_iter().map(|message| (message.id, message.text)).collect::<Vec<_>>(),
            );
        }
        let said: Vec<&String> = self.said.iter().map(|(_, id)| id).collect();
        let from = said.len().saturating_sub(usize::try_from(PAGE).unwrap_or_default());
        let said = said.get(from..).unwrap_or_default();
        let same = seen.iter().all(|all| all.iter().map(|(id, _)| id).eq(said.iter().copied()));
        if same && seen.first() == seen.last() {
            return Ok(());
        }
        Err(Failure::user("the two don't see the same conversation"))
    }

    /// Takes the traffic of the part in which nobody was away.
    async fn measure(&mut self) -> Result<(), Failure> {
        if self.wire.is_none() {
            let after = self.traffic().await?;
            self.wire = Some(Wire::new(self.said.len(), &self.before, &after));
        }
        Ok(())
    }

    async fn traffic(&mut self) -> Result<Vec<Traffic>, Failure> {
        let mut traffic = Vec::new();
        for who in Who::BOTH {
            traffic.push(self.call(who, StatusShow {}).await?.traffic);
        }
        Ok(traffic)
    }

    async fn until_state(&mut self, who: Who, state: ContactState) -> Result<(), Failure> {
        loop {
            let people = self.call(who, ContactList {}).await?;
            if people.iter().any(|person| person.state == state) {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Waits until a message looks as it should to somebody.
    async fn until_shown(
        &mut self,
        who: Who,
        id: &str,
        fits: impl Fn(&Message) -> bool,
    ) -> Result<(), Failure> {
        loop {
            let messages = self.messages(who, PAGE).await?;
            if messages.iter().any(|message| message.id == id && fits(message)) {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    async fn mark(&mut self, who: Who, id: &str) -> Result<DeliveryStatus, Failure> {
        let messages = self.messages(who, LAST).await?;
        let message = messages.into_iter().find(|message| message.id == id);
        Ok(message.and_then(|message| message.mark).unwrap_or(DeliveryStatus::Sent))
    }

    async fn messages(&mut self, who: Who, limit: u32) -> Result<Vec<Message>, Failure> {
        let contact = who.other().name().to_owned();
        let items = self.call(who, MessageList { contact, limit, before: None }).await?;
        let messages = items.into_iter().filter_map(|item| match item {
            Item::Message(message) => Some(message),
            Item::Gap { .. } => None,
        });
        Ok(messages.collect())
    }

    /// Waits for the next event and whatever else is there.
    async fn hear(&mut self) -> Result<(), Failure> {
        let told = timeout(PATIENCE, self.stage.events.recv()).await.ok().flatten();
        let told = told.ok_or_else(|| {
            Failure::network(format!("nothing happened for {} s", PATIENCE.as_secs()))
        })?;
        self.note_event(told);
        while let Ok(told) = self.stage.events.try_recv() {
            self.note_event(told);
        }
        Ok(())
    }

    fn note_event(&mut self, Told { at, event }: Told) {
        if let Event::Message { message, .. } = event
            && !message.own
        {
            self.arrived.entry(message.id).or_insert(at);
        }
    }

    async fn call<C: Call<Target = Engine>>(
        &mut self,
        who: Who,
        call: C,
    ) -> Result<C::Returns, Failure> {
        self.stage.remote(who)?.call(call).await
    }

    fn last_of(&self, who: Who) -> Result<String, Failure> {
        let last = self.said.iter().rev().find(|(author, _)| *author == who);
        last.map(|(_, id)| id.clone()).ok_or_else(|| Failure::user("there is no message"))
    }

    fn name(&self, who: Who) -> String {
        let style = match who {
            Who::Ada => Style::Cyan,
            Who::Ben => Style::Green,
        };
        self.out.styled(style, who.name())
    }

    fn show(&self, who: Who, what: &str) {
        self.part(&format!("{}  {}\n", self.name(who), self.dim(what)));
    }

    fn note(&self, text: &str) {
        self.part(&format!("{}\n", self.dim(text)));
    }

    fn dim(&self, text: &str) -> String {
        self.out.styled(Style::Dim, text)
    }

    fn part(&self, text: &str) {
        if !self.out.is_json() {
            write_part(text);
        }
    }
}

/// The beginning and the end of something long.
fn shorten(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let (Some(head), Some(tail)) =
        (chars.get(..16), chars.len().checked_sub(22).and_then(|from| chars.get(from..)))
    else {
        return text.to_owned();
    };
    head.iter().chain(&['…']).chain(tail).collect()
}

/// Seconds for a node to answer.
const WAIT_S: u32 = 15;
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(15);
/// Messages looked at for the mark of the last one.
const LAST: u32 = 4;
/// Messages looked at: more than any script between two waits.
const PAGE: u32 = 200;
