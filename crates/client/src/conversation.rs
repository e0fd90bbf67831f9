//! Conversations: the epochs of a group, and sealing and opening under them.
//!
//! The state of every epoch is kept under the id of the commit that made it, so that two commits
//! made at the same time can both be followed. This device sends on the head: from the first epoch
//! on it goes, wherever several commits leave an epoch, to the one with the lowest id. Specified
//! in `spec/encryption.md`.

use std::collections::{BTreeMap, BTreeSet};

use crypto::{
    Allowed, Cgka, CommitId, CommitLink, EpochOut, Mls, Opened, SealedBy, SigningKey, sign_envelope,
};
use prost::Message;
use proto::{
    AccountId, Content, Envelope, EnvelopeId, Expiry, Extension, Gauge, Head, Instant, Kind,
    LogGenesis, LogId, NodeAddress, NodeId, PublicKey, Ranking, Reference, Rows, limits, wire,
};
use zeroize::Zeroizing;

use crate::{
    outbox::{Flow, WINDOW, announced},
    receipts::{AWAITED_MAX, Awaited},
    schema::{self, CHANGES, CONVERSATIONS, COUNTERS, EPOCHS, FRONTIERS, Place, SNAPSHOTS, join},
    standing::{BRIEFS_MAX, Briefs},
    step::Step,
    waiting::Waiting,
};

/// One conversation, as rows have it.
pub(crate) struct Conversation {
    pub(crate) log: LogId,
    pub(crate) contact: AccountId,
    pub(crate) ranking: Ranking,
    pub(crate) genesis: LogGenesis,
    /// The log was open at its node.
    pub(crate) exists: bool,
    /// This account has created it.
    pub(crate) created: bool,
    pub(crate) frontier: Frontier,
    pub(crate) waiting: Waiting,
    pub(crate) briefs: Briefs,
    /// Entries that one of the own homes will never take, as it says, since when it does.
    pub(crate) doubted: BTreeMap<Place, (NodeId, Instant)>,
    pub(crate) awaited: Awaited,
    /// How far the outbox has come since the link is up.
    pub(crate) flow: Flow,
    /// The last outbox number in use.
    pub(crate) queued: u64,
    /// Nodes of the ranking that don't know it yet, and that nobody else may tell.
    pub(crate) untold: BTreeSet<NodeId>,
    pub(crate) own: Own,
    /// The first epoch's write key.
    first: Option<SigningKey>,
    /// A node was told of others that hold the log.
    shared: bool,
    epochs: BTreeMap<CommitId, LiveEpoch>,
    by_key: BTreeMap<PublicKey, CommitId>,
    head: CommitId,
}

/// How a conversation begins.
pub(crate) struct Founding {
    pub(crate) genesis: LogGenesis,
    pub(crate) contact: AccountId,
    pub(crate) ranking: Ranking,
    pub(crate) created: bool,
    pub(crate) own: Own,
}

/// The own account's home, and who stands in for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) home: Option<NodeId>,
    pub(crate) stand_in: Option<NodeId>,
}

impl Own {
    fn is(&self, node: &NodeId) -> bool {
        [self.home, self.stand_in].contains(&Some(*node))
    }
}

/// The edge of what is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frontier {
    /// Shown entries on which nothing shown depends.
    pub(crate) heads: BTreeSet<Place>,
    pub(crate) arrivals: u64,
    /// Up to where the user has read.
    pub(crate) read: Place,
    /// Texts of the contact behind that, once they were counted.
    pub(crate) unread: Option<u64>,
    /// Something arrived of which the author has not been told.
    pub(crate) unacknowledged: bool,
}

struct LiveEpoch {
    secrets: crypto::Epoch,
    write_key: SigningKey,
    parent: CommitId,
    own_leaf: u32,
    /// The next message's.
    counter: u32,
    /// Rows say that counters below this one may be in use.
    set_aside: u32,
    members: BTreeMap<u32, (AccountId, PublicKey)>,
}

/// What an envelope of a conversation opens to.
pub(crate) enum Entry {
    /// Somebody says something.
    Said { author: AccountId, content: Content, bytes: Zeroizing<Vec<u8>>, counted: Counted },
    /// Somebody gave the group a new state.
    Changed { mls: Vec<u8>, link: CommitLink },
}

/// What this device says, ready to be placed and queued.
pub(crate) struct Said {
    pub(crate) place: Place,
    pub(crate) envelope: Envelope,
    pub(crate) content: Content,
    pub(crate) bytes: Vec<u8>,
    /// Its key was set aside by an earlier commit, so that even if this one is lost no other
    /// message can get the same key.
    pub(crate) key_was_set_aside: bool,
}

/// Which key an entry used: no device may use one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) commit: CommitId,
    pub(crate) leaf: u32,
    pub(crate) counter: u32,
}

/// Why an envelope can't be shown.
pub(crate) enum Unopened {
    /// The epoch of this write key is not known yet.
    UnknownEpoch(PublicKey),
    /// It is not what a member may send.
    Bad,
}

impl Conversation {
    /// Starts a conversation from its first epoch.
    pub(crate) fn found(
        step: &mut Step<'_>,
        founding: Founding,
        (out, snapshot): (EpochOut, &[u8]),
    ) -> Self {
        let head = out.epoch.commit();
        let Founding { genesis, contact, ranking, created, own } = founding;
        let first = Some(out.epoch.write_key());
        let mut conversation = Self {
            log: genesis.id(),
            contact,
            ranking,
            genesis,
            exists: false,
            created,
            frontier: Frontier::default(),
            waiting: Waiting::default(),
            briefs: Briefs::default(),
            doubted: BTreeMap::new(),
            awaited: Awaited::default(),
            flow: Flow::default(),
            queued: 0,
            untold: BTreeSet::new(),
            own,
            first,
            shared: false,
            epochs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            head,
        };
        conversation.add_epoch(step, out, head, snapshot);
        conversation.save(step);
        conversation.save_frontier(step);
        conversation
    }

    pub(crate) fn load(rows: &dyn Rows, log: LogId, own: Own) -> Option<Self> {
        let row: schema::Conversation = schema::load(rows, CONVERSATIONS, &log.0)?;
        let frontier: schema::Frontier = schema::load(rows, FRONTIERS, &log.0)?;
        let mut conversation = Self {
            log,
            contact: AccountId::try_from(row.contact.as_slice()).ok()?,
            ranking: row.ranking?.try_into().ok()?,
            genesis: LogGenesis::decode(&row.genesis).ok()?,
            exists: row.exists,
            created: row.created,
            frontier: Frontier::from_row(&frontier),
            waiting: Waiting::default(),
            briefs: Briefs::default(),
            doubted: BTreeMap::new(),
            awaited: Awaited::default(),
            flow: Flow::default(),
            queued: 0,
            untold: row.untold.iter().flat_map(|n| NodeId::try_from(n.as_slice())).collect(),
            own,
            first: row.first_key.as_slice().try_into().ok().map(SigningKey::from_seed),
            shared: row.shared,
            epochs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            head: CommitId(row.head.as_slice().try_into().ok()?),
        };
        for (commit, row) in schema::load_all::<schema::Epoch>(rows, EPOCHS, &log.0) {
            let counter = rows.get(COUNTERS, &join(&log, &commit));
            let epoch = LiveEpoch::from_row(&row, counter.as_deref())?;
            conversation.by_key.insert(epoch.write_key.public(), epoch.secrets.commit());
            conversation.epochs.insert(epoch.secrets.commit(), epoch);
        }
        for (id, row) in schema::load_all::<schema::Deferred>(rows, schema::DEFERRED, &log.0) {
            let id = EnvelopeId::try_from(id.as_slice()).ok()?;
            conversation.waiting.add(id, &row);
        }
        conversation.queued = crate::outbox::last_number(rows, &log);
        Some(conversation)
    }

    pub(crate) fn save(&self, step: &mut Step<'_>) {
        let row = schema::Conversation {
            contact: self.contact.0.to_vec(),
            ranking: Some((&self.ranking).into()),
            genesis: self.genesis.encode(),
            head: self.head.0.to_vec(),
            exists: self.exists,
            created: self.created,
            first_key: self.first.as_ref().map(|key| key.to_seed().to_vec()).unwrap_or_default(),
            untold: self.untold.iter().map(|node| node.0.to_vec()).collect(),
            shared: self.shared,
        };
        step.draft.put(CONVERSATIONS, self.log.0, row.encode_to_vec());
    }

    pub(crate) fn save_frontier(&self, step: &mut Step<'_>) {
        step.draft.put(FRONTIERS, self.log.0, self.frontier.to_row().encode_to_vec());
    }

    pub(crate) fn gauges(&self) -> [Gauge; 9] {
        let members = self.epochs.values().map(|epoch| epoch.members.len()).max().unwrap_or(0);
        [
            Gauge::new("epochs of a conversation", self.epochs.len(), limits::EPOCHS_OPEN_MAX),
            Gauge::new("members of a conversation", members, MEMBERS_MAX),
            Gauge::new("heads of a conversation", self.frontier.heads.len(), limits::HEADS_MAX),
            Gauge::new("deferred of a conversation", self.waiting.len(), limits::DEFERRED_MAX),
            Gauge::new("missing of a conversation", self.waiting.missing(), MISSING_MAX),
            Gauge::new("briefs of a conversation", self.briefs.missing(), BRIEFS_MAX),
            Gauge::new("doubted entries of a conversation", self.doubted.len(), WINDOW),
            Gauge::new(
                "entries of a conversation that await receipts",
                self.awaited.len(),
                AWAITED_MAX,
            ),
            Gauge::new("refusals of a conversation", self.flow.refused.len(), WINDOW),
        ]
    }

    /// The node with which this device talks about the log: its account's home, if that holds it.
    pub(crate) fn node(&self) -> Option<&NodeAddress> {
        let home = self.named().find(|node| Some(node.node) == self.own.home);
        home.or_else(|| self.ranking.nodes.first())
    }

    /// The nodes that hold the log, and those that stand by.
    fn named(&self) -> impl Iterator<Item = &NodeAddress> {
        self.ranking.nodes.iter().chain(&self.ranking.standbys)
    }

    /// Whether a node may hold the log.
    pub(crate) fn may_hold(&self, node: &NodeId) -> bool {
        self.named().any(|named| named.node == *node)
    }

    /// The other home of the account, if that holds the log as well.
    pub(crate) fn stand_in(&self) -> Option<NodeId> {
        let at_home = self.node().is_some_and(|node| Some(node.node) == self.own.home);
        self.own.stand_in.filter(|node| at_home && self.may_hold(node))
    }

    /// The ranking, if the node has to know it: there are others that hold the log, or were.
    pub(crate) fn ranking_to_tell(&self) -> Option<&Ranking> {
        let at_home = self.named().any(|node| self.own.is(&node.node));
        (at_home && (self.named().count() > 1 || self.shared)).then_some(&self.ranking)
    }

    /// The log is ranked anew, perhaps because the own account has another home.
    pub(crate) fn rank(&mut self, ranking: Ranking, own: Own) {
        self.shared |= self.named().count() > 1;
        self.ranking = ranking;
        self.own = own;
        let Self { untold, ranking, .. } = self;
        untold.retain(|node| ranking.nodes.iter().any(|named| named.node == *node));
    }

    /// All nodes of the ranking but the own homes have to be told of it. If there are none, the contact
    /// should be at home there too, which that node knows.
    pub(crate) fn tell_all(&mut self) {
        let others = self.ranking.nodes.iter().map(|address| address.node);
        self.untold = others.filter(|node| !self.own.is(node)).collect();
        if self.untold.is_empty() {
            self.untold.extend(self.own.home);
        }
    }

    /// Where the nodes are that have to be told.
    pub(crate) fn untold_addresses(&self) -> Vec<NodeAddress> {
        let nodes = self.ranking.nodes.iter();
        nodes.filter(|address| self.untold.contains(&address.node)).cloned().collect()
    }

    /// The write key of the first epoch. (Rows of old have it only while the epoch is there.)
    pub(crate) fn first_key(&self) -> Option<&SigningKey> {
        match (&self.genesis, &self.first) {
            (_, Some(first)) => Some(first),
            (LogGenesis::Conversation { write_key, salt: _ }, None) => self.key(write_key),
            (LogGenesis::Inbox(_), None) => None,
        }
    }

    /// Write keys that a node may know as the newest, from the one that this device knows as the
    /// newest published one back to the first.
    pub(crate) fn keys_back(&self, unpublished: &BTreeSet<PublicKey>) -> Vec<&SigningKey> {
        let mut commit = self.head_of(self.root(), unpublished);
        let mut keys = Vec::new();
        while let Some(epoch) = self.epochs.get(&commit) {
            keys.push(&epoch.write_key);
            if epoch.parent == commit || keys.len() > limits::EPOCHS_OPEN_MAX {
                break;
            }
            commit = epoch.parent;
        }
        keys
    }

    /// The write key whose public half is `public`.
    pub(crate) fn key(&self, public: &PublicKey) -> Option<&SigningKey> {
        let epoch = self.epochs.get(self.by_key.get(public)?)?;
        Some(&epoch.write_key)
    }

    /// The newest write key that the node knows, if it knows all but these.
    pub(crate) fn known_key(&self, unpublished: &BTreeSet<PublicKey>) -> Option<&SigningKey> {
        let known = self.epochs.get(&self.head_of(self.root(), unpublished))?;
        Some(&known.write_key)
    }

    /// Seals what this device says next, with dependencies on what it has seen, and moves on to the
    /// next key. The caller places it in the timeline and queues it, in the same commit.
    pub(crate) fn say(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        content: Content,
    ) -> Option<Said> {
        let (position, dependencies) = self.next_place();
        let content = Content { dependencies, ..content };
        let bytes = content.encode();
        let log = self.log;
        let epoch = self.epochs.get_mut(&self.head)?;
        let (leaf, counter) = (epoch.own_leaf, epoch.counter);
        let key_was_set_aside = counter < epoch.set_aside;
        epoch.counter = counter.checked_add(1)?;
        if !key_was_set_aside {
            epoch.set_aside = epoch.counter.saturating_add(SET_ASIDE);
            step.draft.put(COUNTERS, join(&log, self.head.0), epoch.set_aside.to_be_bytes());
        }
        let head = Head {
            kind: Kind::Entry,
            expiry: Expiry::Never,
            position,
            log,
            write_key: epoch.write_key.public(),
            extension: Extension::default(),
        };
        let by = SealedBy { epoch: &epoch.secrets, leaf, counter, device };
        let ciphertext = crypto::seal_message(by, &head, &bytes, &mut step.rng).ok()?;
        let envelope = sign_envelope(&epoch.write_key, head, ciphertext);
        let place = Place { position, id: envelope.id() };
        Some(Said { place, envelope, content, bytes, key_was_set_aside })
    }

    /// Gives the group a new state and goes there. The caller places and queues the envelope.
    pub(crate) fn rekey(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        allowed: &Allowed,
    ) -> Option<(Place, Envelope, Content)> {
        let (position, dependencies) = self.next_place();
        let link = CommitLink {
            parent: self.head.0.to_vec(),
            intents: Vec::new(),
            dependencies: dependencies.iter().map(|reference| reference.0.to_vec()).collect(),
            position,
            expiry: Expiry::Never as u32,
        };
        let parent = self.head;
        let snapshot = Zeroizing::new(step.draft.get(SNAPSHOTS, &join(&self.log, parent.0))?);
        let committed = Mls.commit(&snapshot, device, &link, allowed, &mut step.rng).ok()?;
        let epoch = self.epochs.get(&parent)?;
        let head = Head {
            kind: Kind::KeyChange,
            expiry: Expiry::Never,
            position,
            log: self.log,
            write_key: epoch.write_key.public(),
            extension: Extension::next_key(committed.out.epoch.write_key().public()),
        };
        let ciphertext =
            crypto::seal_commit(&epoch.secrets, &head, &committed.mls, &mut step.rng).ok()?;
        let envelope = sign_envelope(&epoch.write_key, head, ciphertext);
        self.keep_change(step, committed.out.epoch.commit(), &envelope);
        self.add_epoch(step, committed.out, parent, &committed.snapshot);
        let content = Content { dependencies, ..Content::default() };
        Some((Place { position, id: envelope.id() }, envelope, content))
    }

    /// Opens an envelope and checks all that needs no other entry.
    pub(crate) fn open(&self, envelope: &Envelope) -> Result<Entry, Unopened> {
        let head = &envelope.head;
        let commit =
            self.by_key.get(&head.write_key).ok_or(Unopened::UnknownEpoch(head.write_key))?;
        let epoch = self.epochs.get(commit).ok_or(Unopened::Bad)?;
        let device_of = |leaf: u32| epoch.members.get(&leaf).map(|(_, device)| *device);
        match crypto::open(&epoch.secrets, head, &envelope.ciphertext, &device_of) {
            Ok(Opened::Message { leaf, counter, content: bytes, .. }) => {
                if head.kind != Kind::Entry {
                    return Err(Unopened::Bad);
                }
                let content = Content::decode(&bytes).map_err(|_| Unopened::Bad)?;
                let (author, _) = epoch.members.get(&leaf).ok_or(Unopened::Bad)?;
                let counted = Counted { commit: *commit, leaf, counter };
                Ok(Entry::Said { author: *author, content, bytes, counted })
            }
            Ok(Opened::Commit { mls }) => {
                let link = Mls.link(&mls).map_err(|_| Unopened::Bad)?;
                let fits = link.parent == commit.0
                    && link.position == head.position
                    && link.expiry == head.expiry as u32
                    && head.kind == Kind::KeyChange;
                if fits { Ok(Entry::Changed { mls, link }) } else { Err(Unopened::Bad) }
            }
            Err(_) => Err(Unopened::Bad),
        }
    }

    /// Seals something that is forwarded and not stored.
    pub(crate) fn seal_activity(
        &self,
        step: &mut Step<'_>,
        activity: wire::Activity,
    ) -> Option<Vec<u8>> {
        let plaintext = activity.encode_to_vec();
        let LiveEpoch { secrets, own_leaf, .. } = self.epochs.get(&self.head)?;
        crypto::seal_signal(secrets, &self.log, *own_leaf, &plaintext, &mut step.rng).ok()
    }

    pub(crate) fn open_activity(&self, ciphertext: &[u8]) -> Option<wire::Activity> {
        let epoch = self.epochs.get(&self.head)?;
        let (_, plaintext) = crypto::open_signal(&epoch.secrets, &self.log, ciphertext).ok()?;
        wire::Activity::decode(plaintext.as_slice()).ok()
    }

    /// Follows another member's change. Returns who made it.
    pub(crate) fn follow(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        (envelope, mls): (&Envelope, &[u8]),
        allowed: &Allowed,
    ) -> Option<AccountId> {
        let parent = *self.by_key.get(&envelope.head.write_key)?;
        let announced = envelope.head.extension.announced_key()?;
        if self.by_key.contains_key(&announced) {
            // Any member can publish a commit a second time, in other bytes; the epoch it leads to
            // is the same, and one's own can't be processed anyway.
            return Some(self.contact);
        }
        let snapshot = Zeroizing::new(step.draft.get(SNAPSHOTS, &join(&self.log, parent.0))?);
        let processed = Mls.process(&snapshot, device, mls, allowed, &mut step.rng).ok()?;
        if processed.out.epoch.write_key().public() != announced {
            return None;
        }
        let before = self.epochs.get(&parent)?;
        let author = before.members.get(&processed.committer)?.0;
        // Readers are not given the signature; any member can make it.
        let Envelope { head, ciphertext, .. } = envelope.clone();
        let signed = sign_envelope(&before.write_key, head, ciphertext);
        self.keep_change(step, processed.out.epoch.commit(), &signed);
        self.add_epoch(step, processed.out, parent, &processed.snapshot);
        Some(author)
    }

    /// Forgets the epoch of a change that its node will never take, and all that follow it.
    pub(crate) fn undo(&mut self, step: &mut Step<'_>, announced: &PublicKey) {
        let root = self.root();
        let undone = self.by_key.get(announced).filter(|commit| **commit != root);
        let mut undone: Vec<_> = undone.copied().into_iter().collect();
        while let Some(commit) = undone.pop() {
            let Some(epoch) = self.epochs.remove(&commit) else { continue };
            self.by_key.remove(&epoch.write_key.public());
            for table in [EPOCHS, SNAPSHOTS, COUNTERS, CHANGES] {
                step.draft.delete(table, join(&self.log, commit.0));
            }
            let children = self.epochs.iter().filter(|(_, epoch)| epoch.parent == commit);
            undone.extend(children.map(|(child, _)| *child));
        }
        self.head = self.head_of(root, &BTreeSet::new());
        self.save(step);
    }

    fn keep_change(&self, step: &mut Step<'_>, commit: CommitId, envelope: &Envelope) {
        let row = schema::Outgoing { envelope: envelope.encode() };
        step.draft.put(CHANGES, join(&self.log, commit.0), row.encode_to_vec());
    }

    /// 1 + the largest position of the heads, and the heads to depend on.
    fn next_place(&self) -> (u64, Vec<Reference>) {
        let heads = self.frontier.heads.iter().rev().take(limits::DEPENDENCIES_MAX);
        let position = self.frontier.heads.last().map_or(0, |place| place.position);
        (position.saturating_add(1), heads.map(|place| place.id.reference()).collect())
    }

    fn add_epoch(&mut self, step: &mut Step<'_>, out: EpochOut, parent: CommitId, snapshot: &[u8]) {
        let commit = out.epoch.commit();
        let epoch = LiveEpoch::new(out, parent);
        step.draft.put(EPOCHS, join(&self.log, commit.0), epoch.to_row().encode_to_vec());
        step.draft.put(SNAPSHOTS, join(&self.log, commit.0), snapshot);
        self.by_key.insert(epoch.write_key.public(), commit);
        self.epochs.insert(commit, epoch);
        self.forget_epochs(step);
        self.head = self.head_of(self.root(), &BTreeSet::new());
        self.save(step);
    }

    /// While there are too many epochs, forgets the root and what leaves it elsewhere than towards
    /// the head. What the node does not know yet is no way while there is another: it may never
    /// take it.
    fn forget_epochs(&mut self, step: &mut Step<'_>) {
        if self.epochs.len() <= limits::EPOCHS_OPEN_MAX {
            return;
        }
        let unpublished = announced(&step.draft, &self.log);
        while self.epochs.len() > limits::EPOCHS_OPEN_MAX
            && let Some(root) = self
                .child_of(self.root(), &unpublished)
                .or_else(|| self.child_of(self.root(), &BTreeSet::new()))
        {
            let gone: Vec<CommitId> = self
                .epochs
                .keys()
                .filter(|commit| !self.descends(**commit, root))
                .copied()
                .collect();
            for commit in gone {
                if let Some(epoch) = self.epochs.remove(&commit) {
                    self.by_key.remove(&epoch.write_key.public());
                }
                for table in [EPOCHS, SNAPSHOTS, COUNTERS, CHANGES] {
                    step.draft.delete(table, join(&self.log, commit.0));
                }
            }
            if let Some(epoch) = self.epochs.get_mut(&root) {
                epoch.parent = root;
                step.draft.put(EPOCHS, join(&self.log, root.0), epoch.to_row().encode_to_vec());
            }
        }
    }

    /// Tells whether an epoch is `from` or comes after it.
    fn descends(&self, mut commit: CommitId, from: CommitId) -> bool {
        while commit != from {
            match self.epochs.get(&commit) {
                Some(epoch) if epoch.parent != commit => commit = epoch.parent,
                _ => return false,
            }
        }
        true
    }

    fn root(&self) -> CommitId {
        let root = self.epochs.iter().find(|(commit, epoch)| epoch.parent == **commit);
        root.map_or(self.head, |(commit, _)| *commit)
    }

    /// The head below a commit: where several leave an epoch, the lowest id. Epochs of some write
    /// keys may be left out.
    fn head_of(&self, mut commit: CommitId, without: &BTreeSet<PublicKey>) -> CommitId {
        while let Some(child) = self.child_of(commit, without) {
            commit = child;
        }
        commit
    }

    /// The epoch with the lowest id of those that follow another.
    fn child_of(&self, parent: CommitId, without: &BTreeSet<PublicKey>) -> Option<CommitId> {
        let mut children = self.epochs.iter().filter(|(_, epoch)| {
            epoch.parent == parent && !without.contains(&epoch.write_key.public())
        });
        children.find(|(child, _)| **child != parent).map(|(child, _)| *child)
    }
}

impl LiveEpoch {
    fn new(out: EpochOut, parent: CommitId) -> Self {
        let members = out.members.into_iter();
        Self {
            write_key: out.epoch.write_key(),
            secrets: out.epoch,
            parent,
            own_leaf: out.own_leaf,
            counter: 0,
            set_aside: 0,
            members: members.map(|member| (member.leaf, (member.account, member.device))).collect(),
        }
    }

    fn from_row(row: &schema::Epoch, counter: Option<&[u8]>) -> Option<Self> {
        let secrets = crypto::Epoch::decode(&row.secrets).ok()?;
        let set_aside = counter.map_or(Some(0), |c| c.try_into().ok().map(u32::from_be_bytes))?;
        let member =
            |member: &schema::Member| Some((member.leaf, (member.account()?, member.device()?)));
        Some(Self {
            write_key: secrets.write_key(),
            secrets,
            parent: CommitId(row.parent.as_slice().try_into().ok()?),
            own_leaf: row.own_leaf,
            counter: set_aside,
            set_aside,
            members: row.members.iter().map(member).collect::<Option<_>>()?,
        })
    }

    fn to_row(&self) -> schema::Epoch {
        let member = |(leaf, (account, device)): (&u32, &(AccountId, PublicKey))| schema::Member {
            leaf: *leaf,
            account: account.0.to_vec(),
            device: device.0.to_vec(),
        };
        schema::Epoch {
            secrets: self.secrets.encode().to_vec(),
            parent: self.parent.0.to_vec(),
            own_leaf: self.own_leaf,
            members: self.members.iter().map(member).collect(),
        }
    }
}

impl Frontier {
    /// Notes that an entry is shown.
    pub(crate) fn show(&mut self, place: Place, dependencies: &BTreeSet<&Reference>) {
        self.arrivals = self.arrivals.saturating_add(1);
        self.heads.retain(|head| !dependencies.contains(&head.id.reference()));
        self.add_heads([place]);
    }

    /// Adds heads. Of too many those with the smallest positions go: they stay shown, but nothing
    /// said here will depend on them.
    pub(crate) fn add_heads(&mut self, heads: impl IntoIterator<Item = Place>) {
        self.heads.extend(heads);
        while self.heads.len() > limits::HEADS_MAX {
            self.heads.pop_first();
        }
    }

    pub(crate) fn from_row(row: &schema::Frontier) -> Self {
        Self {
            heads: row.heads.iter().filter_map(|head| Place::decode(head)).collect(),
            arrivals: row.arrivals,
            read: Place::decode(&row.read).unwrap_or_default(),
            unread: row.unread,
            unacknowledged: row.unacknowledged,
        }
    }

    fn to_row(&self) -> schema::Frontier {
        schema::Frontier {
            heads: self.heads.iter().map(|place| place.encode()).collect(),
            arrivals: self.arrivals,
            read: self.read.encode(),
            unread: self.unread,
            unacknowledged: self.unacknowledged,
        }
    }
}

/// Message keys that are set aside at a time. One sync in so many messages is waited for; a crash
/// leaves so many numbers unused, of 2^28.
const SET_ASIDE: u32 = 64;
/// Devices in a group of two accounts.
const MEMBERS_MAX: usize = 2 * limits::DEVICES_MAX;
/// What the deferred entries of a conversation wait for.
const MISSING_MAX: usize = limits::DEFERRED_MAX * limits::DEPENDENCIES_MAX;

#[test]
fn of_too_many_heads_the_newest_stay() {
    let mut frontier = Frontier::default();
    let place = |position| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&u64::to_be_bytes(position));
        Place { position, id: EnvelopeId(id) }
    };
    for position in 1..=1000 {
        frontier.show(place(position), &BTreeSet::new());
        assert!(frontier.heads.len() <= limits::HEADS_MAX);
    }
    assert_eq!(frontier.heads.last(), Some(&place(1000)));
    frontier.show(place(1), &BTreeSet::new());
    assert!(!frontier.heads.contains(&place(1)), "an old one does not push a newer one out");
    let heads: Vec<Reference> = frontier.heads.iter().map(|head| head.id.reference()).collect();
    frontier.show(place(1001), &heads.iter().collect());
    assert_eq!(frontier.heads.len(), 1);
}
