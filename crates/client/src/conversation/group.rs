//! The group of a conversation: its epochs, and sealing and opening under them.
//!
//! The state of every epoch is kept under the id of the commit that made it, so that two commits
//! made at the same time can both be followed. This device sends on the head: from the first epoch
//! on it goes, wherever several commits leave an epoch, to the one with the lowest id. Specified
//! in `spec/encryption.md`.

use std::collections::{BTreeMap, BTreeSet};

use crypto::{
    SigningKey,
    group::{Allowed, Cgka, CommitId, CommitRef, EpochOut, Mls, Opened},
};
use prost::Message;
use proto::{
    AccountId, Content, Envelope, Expiry, Extension, Gauge, Head, Kind, LogId, PublicKey,
    Reference, Rows, Table, limits, wire,
};
use zeroize::Zeroizing;

use super::epoch::{EpochRow, LiveEpoch};
use crate::{
    log::{self, WriteKeys},
    rows::{self, TimelineKey, join},
    step::Step,
};

/// Log ‖ commit → [`EpochRow`].
const EPOCHS: Table = Table(7);
/// Log ‖ commit → MLS state of that epoch.
const SNAPSHOTS: Table = Table(8);
/// Log ‖ commit → the counter below which this device may have sealed messages of that epoch,
/// 4 bytes.
const COUNTERS: Table = Table(9);
/// Log ‖ commit ‖ leaf ‖ counter → id: finds a device that used one key twice.
const COUNTED: Table = Table(15);

/// The group of one conversation, as rows have it.
pub(super) struct Group {
    log: LogId,
    /// The first epoch's write key.
    first: Option<SigningKey>,
    epochs: BTreeMap<CommitId, LiveEpoch>,
    by_key: BTreeMap<PublicKey, CommitId>,
    head: CommitId,
    changed: bool,
}

/// An entry that was opened.
pub(super) enum OpenedEntry {
    /// A member says something; `counted` is the row key of the message key that it used.
    Said { author: AccountId, content: Content, bytes: Zeroizing<Vec<u8>>, counted: Vec<u8> },
    /// A member gave the group a new state.
    Changed { mls: Vec<u8>, dependencies: Vec<Reference> },
}

/// An entry of this device, ready to be placed and queued.
pub(super) struct SealedEntry {
    pub(super) key: TimelineKey,
    pub(super) envelope: Envelope,
    pub(super) content: Content,
    pub(super) bytes: Vec<u8>,
    /// Its key was set aside by an earlier commit, so that even if this one is lost no other
    /// message can get the same key.
    pub(super) key_was_set_aside: bool,
}

/// Who made a change that was followed.
pub(super) enum Committer {
    Member(AccountId),
    /// It was published a second time, by any member.
    Unknown,
}

/// Why an envelope can't be shown.
pub(super) enum Unopened {
    /// The epoch of this write key is not known yet.
    UnknownEpoch(PublicKey),
    /// It is not what a member may send.
    Bad,
}

impl Group {
    /// Starts a group from its first epoch.
    pub(super) fn create(step: &mut Step<'_>, log: LogId, out: EpochOut, snapshot: &[u8]) -> Self {
        let head = out.epoch.commit();
        let mut group = Self {
            log,
            first: Some(out.epoch.write_key()),
            epochs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            head,
            changed: false,
        };
        group.add_epoch(step, out, head, snapshot);
        group
    }

    /// Opens the group of a log from its rows and what its owner has kept of it.
    pub(super) fn load(
        rows: &dyn Rows,
        log: LogId,
        first: Option<SigningKey>,
        head: CommitId,
    ) -> Option<Self> {
        let mut group = Self {
            log,
            first,
            epochs: BTreeMap::new(),
            by_key: BTreeMap::new(),
            head,
            changed: false,
        };
        for (commit, row) in rows::load_all::<EpochRow>(rows, EPOCHS, &log.0) {
            let counter = rows.get(COUNTERS, &join(&log, &commit));
            let epoch = LiveEpoch::from_row(&row, counter.as_deref())?;
            group.by_key.insert(epoch.public_key(), epoch.commit());
            group.epochs.insert(epoch.commit(), epoch);
        }
        Some(group)
    }

    /// The commit whose epoch this device sends on.
    pub(super) fn head(&self) -> CommitId {
        self.head
    }

    /// Returns whether what its owner keeps changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn gauges(&self) -> [Gauge; 2] {
        let members = self.epochs.values().map(|epoch| epoch.members()).max().unwrap_or(0);
        [
            Gauge::new("epochs of a conversation", self.epochs.len(), limits::EPOCHS_OPEN_MAX),
            Gauge::new("members of a conversation", members, MEMBERS_MAX),
        ]
    }

    /// Returns whether the epoch of a write key is known.
    pub(super) fn has_key(&self, key: &PublicKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// Seals what this device says next and moves on to the next key. The caller places it in the
    /// timeline and queues it, in the same commit.
    pub(super) fn seal(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        position: u64,
        content: Content,
    ) -> Option<SealedEntry> {
        let bytes = content.encode();
        let epoch = self.epochs.get_mut(&self.head)?;
        let (counter, set_aside) = epoch.take_key()?;
        if let Some(below) = set_aside {
            step.put(COUNTERS, join(&self.log, self.head.0), below.to_be_bytes());
        }
        let head = epoch.head(self.log, Kind::Entry, position);
        let envelope = epoch.seal_message(head, &bytes, device, counter, step.rng())?;
        let key_was_set_aside = set_aside.is_none();
        let key = TimelineKey { position, id: envelope.id() };
        Some(SealedEntry { key, envelope, content, bytes, key_was_set_aside })
    }

    /// Gives the group a new state and goes there. The caller places and queues the envelope.
    pub(super) fn rekey(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        allowed: &Allowed,
        position: u64,
        dependencies: Vec<Reference>,
    ) -> Option<SealedEntry> {
        let commit_ref = CommitRef {
            parent: self.head.0.to_vec(),
            intents: Vec::new(),
            dependencies: dependencies.iter().map(|reference| reference.0.to_vec()).collect(),
            position,
            expiry: Expiry::Never as u32,
        };
        let parent = self.head;
        let snapshot = Zeroizing::new(step.rows().get(SNAPSHOTS, &join(&self.log, parent.0))?);
        let committed =
            Mls.commit(&snapshot, device, &commit_ref, &[], allowed, step.rng()).ok()?;
        let epoch = self.epochs.get(&parent)?;
        let extension = Extension::next_key(committed.out.epoch.write_key().public());
        let head = Head { extension, ..epoch.head(self.log, Kind::KeyChange, position) };
        let envelope = epoch.seal_commit(head, &committed.mls, step.rng())?;
        log::keep_change(step, &self.log, &committed.out.epoch.commit().0, &envelope);
        self.add_epoch(step, committed.out, parent, &committed.snapshot);
        let content = Content { dependencies, ..Content::default() };
        let (key, bytes) = (TimelineKey { position, id: envelope.id() }, content.encode());
        Some(SealedEntry { key, envelope, content, bytes, key_was_set_aside: false })
    }

    /// Opens an envelope and checks all that needs no other entry.
    pub(super) fn open(&self, envelope: &Envelope) -> Result<OpenedEntry, Unopened> {
        let head = &envelope.head;
        let commit =
            self.by_key.get(&head.write_key).ok_or(Unopened::UnknownEpoch(head.write_key))?;
        let epoch = self.epochs.get(commit).ok_or(Unopened::Bad)?;
        match epoch.open(envelope).ok_or(Unopened::Bad)? {
            Opened::Message { leaf, counter, content: bytes, .. } => {
                if head.kind != Kind::Entry {
                    return Err(Unopened::Bad);
                }
                let content = Content::decode(&bytes).map_err(|_| Unopened::Bad)?;
                let author = epoch.member(leaf).ok_or(Unopened::Bad)?;
                let (leaf, counter) = (leaf.to_be_bytes(), counter.to_be_bytes());
                let counted = [self.log.0.as_slice(), &commit.0, &leaf, &counter].concat();
                Ok(OpenedEntry::Said { author, content, bytes, counted })
            }
            Opened::Commit { mls } => {
                let commit_ref = Mls.commit_ref(&mls).map_err(|_| Unopened::Bad)?;
                let fits = commit_ref.parent == commit.0
                    && commit_ref.position == head.position
                    && commit_ref.expiry == head.expiry as u32
                    && head.kind == Kind::KeyChange;
                let dependencies = commit_ref.dependencies.iter();
                let dependencies = dependencies.map(|bytes| Reference::try_from(bytes.as_slice()));
                match dependencies.collect::<Result<Vec<_>, _>>() {
                    Ok(dependencies) if fits => Ok(OpenedEntry::Changed { mls, dependencies }),
                    _ => Err(Unopened::Bad),
                }
            }
        }
    }

    /// Notes which key an entry used: no device may use one twice.
    pub(super) fn count_key(step: &mut Step<'_>, counted: Vec<u8>, key: TimelineKey) {
        if step.rows().get(COUNTED, &counted).is_some() {
            step.count_equivocation();
        }
        step.put(COUNTED, counted, key.id.0);
    }

    /// Seals something that is forwarded and not stored.
    pub(super) fn seal_activity(
        &self,
        step: &mut Step<'_>,
        activity: wire::Activity,
    ) -> Option<Vec<u8>> {
        let plaintext = activity.encode_to_vec();
        self.epochs.get(&self.head)?.seal_signal(&self.log, &plaintext, step.rng())
    }

    pub(super) fn open_activity(&self, ciphertext: &[u8]) -> Option<wire::Activity> {
        let plaintext = self.epochs.get(&self.head)?.open_signal(&self.log, ciphertext)?;
        wire::Activity::decode(plaintext.as_slice()).ok()
    }

    /// Follows another member's change. Returns who made it, unless it can't be followed.
    pub(super) fn follow(
        &mut self,
        step: &mut Step<'_>,
        device: &SigningKey,
        envelope: &Envelope,
        mls: &[u8],
        allowed: &Allowed,
    ) -> Option<Committer> {
        let parent = *self.by_key.get(&envelope.head.write_key)?;
        let announced = envelope.head.extension.announced_key()?;
        if self.by_key.contains_key(&announced) {
            // Any member can publish a commit a second time, in other bytes; the epoch it leads to
            // is the same, and one's own can't be processed anyway.
            return Some(Committer::Unknown);
        }
        let snapshot = Zeroizing::new(step.rows().get(SNAPSHOTS, &join(&self.log, parent.0))?);
        let processed = Mls.process(&snapshot, device, mls, allowed, step.rng()).ok()?;
        let before = self.epochs.get(&parent)?;
        let author = before.member(processed.committer)?;
        // The members of a pair are the devices with which it began.
        let next = processed.renewal()?;
        if next.out.epoch.write_key().public() != announced {
            return None;
        }
        // Readers are not given the signature; any member can make it.
        let Envelope { head, ciphertext, .. } = envelope.clone();
        let signed = before.sign(head, ciphertext);
        log::keep_change(step, &self.log, &next.out.epoch.commit().0, &signed);
        self.add_epoch(step, next.out, parent, &next.snapshot);
        Some(Committer::Member(author))
    }

    /// Forgets the epoch of a change that its node will never take, and all that follow it.
    pub(super) fn undo(&mut self, step: &mut Step<'_>, announced: &PublicKey) {
        let root = self.root();
        let undone = self.by_key.get(announced).filter(|commit| **commit != root);
        let mut undone: Vec<_> = undone.copied().into_iter().collect();
        while let Some(commit) = undone.pop() {
            let Some(epoch) = self.epochs.remove(&commit) else { continue };
            self.by_key.remove(&epoch.public_key());
            self.forget_rows(step, commit);
            let children = self.epochs.iter().filter(|(_, epoch)| epoch.parent() == commit);
            undone.extend(children.map(|(child, _)| *child));
        }
        self.head = self.head_of(root, &BTreeSet::new());
        self.changed = true;
    }

    fn add_epoch(&mut self, step: &mut Step<'_>, out: EpochOut, parent: CommitId, snapshot: &[u8]) {
        let commit = out.epoch.commit();
        let epoch = LiveEpoch::new(out, parent);
        step.put(EPOCHS, join(&self.log, commit.0), epoch.to_row().encode_to_vec());
        step.put(SNAPSHOTS, join(&self.log, commit.0), snapshot);
        self.by_key.insert(epoch.public_key(), commit);
        self.epochs.insert(commit, epoch);
        self.forget_epochs(step);
        self.head = self.head_of(self.root(), &BTreeSet::new());
        self.changed = true;
    }

    /// While there are too many epochs, forgets the root and what leaves it elsewhere than towards
    /// the head. What the node does not know yet is no way while there is another: it may never
    /// take it.
    fn forget_epochs(&mut self, step: &mut Step<'_>) {
        if self.epochs.len() <= limits::EPOCHS_OPEN_MAX {
            return;
        }
        let unpublished = log::announced_keys(step.rows(), &self.log);
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
                    self.by_key.remove(&epoch.public_key());
                }
                self.forget_rows(step, commit);
            }
            if let Some(epoch) = self.epochs.get_mut(&root) {
                epoch.make_root();
                step.put(EPOCHS, join(&self.log, root.0), epoch.to_row().encode_to_vec());
            }
        }
    }

    fn forget_rows(&self, step: &mut Step<'_>, commit: CommitId) {
        for table in [EPOCHS, SNAPSHOTS, COUNTERS] {
            step.delete(table, join(&self.log, commit.0));
        }
        log::forget_change(step, &self.log, &commit.0);
    }

    /// Returns whether an epoch is `from` or comes after it.
    fn descends(&self, mut commit: CommitId, from: CommitId) -> bool {
        while commit != from {
            match self.epochs.get(&commit) {
                Some(epoch) if epoch.parent() != commit => commit = epoch.parent(),
                _ => return false,
            }
        }
        true
    }

    fn root(&self) -> CommitId {
        let root = self.epochs.iter().find(|(commit, epoch)| epoch.parent() == **commit);
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
            epoch.parent() == parent && !without.contains(&epoch.public_key())
        });
        children.find(|(child, _)| **child != parent).map(|(child, _)| *child)
    }
}

impl WriteKeys for Group {
    fn find(&self, public: &PublicKey) -> Option<&SigningKey> {
        let epoch = self.epochs.get(self.by_key.get(public)?)?;
        Some(epoch.write_key())
    }

    fn first(&self) -> Option<&SigningKey> {
        self.first.as_ref()
    }

    fn published(&self, unpublished: &BTreeSet<PublicKey>) -> Vec<&SigningKey> {
        let mut commit = self.head_of(self.root(), unpublished);
        let mut keys = Vec::new();
        while let Some(epoch) = self.epochs.get(&commit) {
            keys.push(epoch.write_key());
            if epoch.parent() == commit || keys.len() > limits::EPOCHS_OPEN_MAX {
                break;
            }
            commit = epoch.parent();
        }
        keys
    }
}

/// Devices in a group of two accounts.
const MEMBERS_MAX: usize = 2 * limits::DEVICES_MAX;
