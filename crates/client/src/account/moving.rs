//! The account's part in a move: the record for the next home, and the homes that were left.
//! Specified in `spec/delivery.md`, section 7.

use crypto::{Authority, Bundle, RecordDraft};
use prost::Message;
use proto::{Code, NodeAddress, NodeId, limits, wire};

use super::{Me, check_new, served};
use crate::{
    CommandError, Event,
    link::{Links, Opening, Purpose},
    schema::{self, ACCOUNT},
    step::Step,
    sync,
};

/// A home that the account has left.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) home: NodeAddress,
    since_s: u64,
    /// It knows the newer record and lets nobody in any more.
    told: bool,
    /// The last that its inbox has for this account.
    end: Option<u64>,
}

impl Former {
    pub(super) fn load(row: &schema::Former) -> Option<Self> {
        let home = NodeAddress::try_from(row.home.as_ref()?).ok()?;
        Some(Self { home, since_s: row.since_s, told: false, end: None })
    }

    fn to_row(&self) -> schema::Former {
        let home = Some(wire::NodeAddress::from(&self.home));
        schema::Former { home, since_s: self.since_s }
    }
}

impl Me {
    /// The record that the next home has to take.
    pub(crate) fn next_record(&self) -> Option<&Bundle> {
        self.next.as_ref()
    }

    /// The home that has to take the record before the account moves there.
    pub(crate) fn next_home(&self) -> Option<&NodeAddress> {
        self.next.as_ref()?.homes().first()
    }

    pub(crate) fn is_next_home(&self, node: &NodeId) -> bool {
        self.next_home().is_some_and(|home| home.node == *node)
    }

    /// Homes that were left and have something to be told or to hand over.
    pub(crate) fn former_homes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.former.iter().map(|former| &former.home)
    }

    pub(crate) fn is_former_home(&self, node: &NodeId) -> bool {
        self.former_homes().any(|home| home.node == *node)
    }

    /// Whether a home that was left, and that can be reached, has yet to hear of it. Whoever moves
    /// says so there before it looks where others are: of two who move at the same time at least
    /// one then sees it.
    pub(crate) fn has_to_tell(&self, links: &Links) -> bool {
        self.former.iter().any(|former| !former.told && links.is_up(&former.home.node))
    }

    /// Signs the record of other homes, or of the same in another order. Tells whether the account
    /// moves by it: then the next home has to take it first, else it counts at once.
    pub(crate) fn plan(
        &mut self,
        step: &mut Step<'_>,
        homes: Vec<NodeAddress>,
        pinned: &[NodeId],
    ) -> Result<bool, CommandError> {
        check_new(&self.row.name, &homes)?;
        let once = homes.iter().enumerate().all(|(at, home)| {
            homes.iter().skip(at.saturating_add(1)).all(|other| other.node != home.node)
        });
        if !once {
            return Err(CommandError::BadRequest("a home is named twice"));
        }
        let pinned = pinned.iter().filter(|node| homes.iter().any(|home| home.node == **node));
        self.row.pinned = pinned.map(|node| node.0.to_vec()).collect();
        let newest = self.next.as_ref().unwrap_or(&self.bundle);
        if newest.homes() != homes {
            self.sign_next(step, |draft| draft.homes = homes)?;
        }
        self.row.moving_trouble = String::new();
        self.save(step);
        Ok(self.moves())
    }

    /// Signs the record that wants so many copies. An entry is called stored when so many nodes have
    /// signed for it. Tells whether the account is about to move.
    pub(crate) fn want_copies(
        &mut self,
        step: &mut Step<'_>,
        copies: u32,
        receipts: u32,
    ) -> Result<bool, CommandError> {
        let allowed = limits::COPIES_MIN..=limits::COPIES_MAX;
        if !allowed.contains(&copies) || !allowed.contains(&receipts) {
            return Err(CommandError::BadRequest("copies and receipts are two to four"));
        }
        let newest = self.next.as_ref().unwrap_or(&self.bundle);
        if newest.next_draft().copies != copies {
            self.sign_next(step, |draft| draft.copies = copies)?;
        }
        self.row.receipts = receipts;
        self.save(step);
        Ok(self.moves())
    }

    /// Whether the next home has to take the record before it counts.
    fn moves(&self) -> bool {
        self.next_home().is_some_and(|next| !self.is_served(&next.node))
    }

    fn sign_next(
        &mut self,
        step: &Step<'_>,
        change: impl FnOnce(&mut RecordDraft),
    ) -> Result<(), CommandError> {
        let authority = Authority::decode(&self.row.authority)
            .map_err(|_| CommandError::BadRequest("its authority can't be read"))?;
        let mut draft = self.next.as_ref().unwrap_or(&self.bundle).next_draft();
        change(&mut draft);
        let next = authority
            .sign_record(draft)
            .map_err(|_| CommandError::BadRequest("its record would be too large"))?;
        let given_up = self.next_home().cloned();
        self.next = Some(next);
        // It may have taken the record, and its answer be on the way: it must hear of the next.
        if let Some(home) = given_up.filter(|home| !self.is_next_home(&home.node)) {
            self.leave(step, home);
        }
        Ok(())
    }

    /// Gives up a move that the next home would not have.
    pub(crate) fn give_up(&mut self, step: &mut Step<'_>) {
        // Newer than the record that was given up, which the node may have kept all the same.
        let homes = self.bundle.homes().to_vec();
        let pinned: Vec<_> = self.pinned().collect();
        let trouble = std::mem::take(&mut self.row.moving_trouble);
        if self.plan(step, homes, &pinned).is_err() {
            self.next = None;
        }
        self.row.moving_trouble = trouble;
        self.save(step);
    }

    /// Remembers why the next home does not take the account.
    pub(crate) fn set_moving_trouble(&mut self, step: &mut Step<'_>, code: Code) {
        self.row.moving_trouble = if code == Code::Closed {
            "the new home takes no new accounts".to_owned()
        } else if matches!(code, Code::Full | Code::Quota) {
            "the new home is full".to_owned()
        } else {
            format!("the new home refused ({code:?})")
        };
        self.save(step);
    }

    pub(crate) fn pinned(&self) -> impl Iterator<Item = NodeId> {
        self.row.pinned.iter().flat_map(|node| NodeId::try_from(node.as_slice()))
    }

    /// The next record counts from now on. Tells whether another home serves the account by it, which
    /// then is given what the others have.
    pub(crate) fn take_over(&mut self, step: &mut Step<'_>) -> Option<bool> {
        let next = self.next.take()?;
        let before: Vec<_> = self.serving.iter().chain(served(&self.bundle)).cloned().collect();
        let is_in = |homes: &[NodeAddress], home: &NodeAddress| {
            homes.iter().any(|other| other.node == home.node)
        };
        self.row.bundle = next.as_bytes().to_vec();
        self.bundle = next;
        self.choose_serving();
        let after = self.serving.clone();
        let moves = after.iter().any(|home| !is_in(&before, home));
        // Whoever was to be told of an older record is told of this one.
        self.former.iter_mut().for_each(|former| former.told = false);
        for home in before.iter().filter(|home| !is_in(&after, home)) {
            self.leave(step, home.clone());
        }
        self.former.retain(|former| !is_in(&after, &former.home));
        self.save(step);
        Some(moves)
    }

    fn leave(&mut self, step: &Step<'_>, home: NodeAddress) {
        self.former.retain(|former| former.home.node != home.node);
        let since_s = step.now.as_secs();
        self.former.push(Former { home, since_s, told: false, end: None });
        let excess = self.former.len().saturating_sub(FORMER_MAX);
        self.former.drain(..excess);
    }

    /// A home that was left is there: it must know the newer record, so that it sends on who comes.
    pub(crate) fn former_is_up(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        self.put_bundle(step, links, node);
    }

    /// It knows, and lets nobody in any more: what its inbox has now is all.
    pub(crate) fn former_knows(&mut self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        let log = self.inbox_log();
        let Some(former) = self.former.iter_mut().find(|former| former.home.node == *node) else {
            return;
        };
        former.told = true;
        let opening = Opening {
            log,
            key: &self.device,
            purpose: Purpose::Former,
            genesis: None,
            tail: Some(sync::cursor(&step.draft, node, &log)),
            brief: false,
            ranking: None,
        };
        links.open(step, node, opening);
    }

    /// The inbox that was left is open, up to `end`.
    pub(crate) fn former_ends(&mut self, node: &NodeId, end: u64) {
        let former = self.former.iter_mut().find(|former| former.home.node == *node);
        if let Some(former) = former {
            former.end = Some(end);
        }
    }

    /// Whether everything is here that the inbox which was left had.
    pub(crate) fn is_drained(&self, step: &Step<'_>, node: &NodeId) -> bool {
        let end = self.former.iter().find(|former| former.home.node == *node).and_then(|f| f.end);
        let here = sync::cursor(&step.draft, node, &self.inbox_log()).sequence;
        end.is_some_and(|end| here >= end)
    }

    /// Nothing more is expected of a home that was left.
    pub(crate) fn forget_former(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.former.retain(|former| former.home.node != *node);
        self.save(step);
    }

    /// Homes that were left so long ago that nobody comes there any more.
    pub(crate) fn forget_old_homes(&mut self, step: &mut Step<'_>) {
        let since = step.now.as_secs().saturating_sub(FORMER_KEPT_S);
        if self.former.iter().any(|former| former.since_s < since) {
            self.former.retain(|former| former.since_s >= since);
            self.save(step);
        }
    }

    fn save(&mut self, step: &mut Step<'_>) {
        self.row.next = self.next.as_ref().map(|next| next.as_bytes().to_vec()).unwrap_or_default();
        self.row.former = self.former.iter().map(Former::to_row).collect();
        step.draft.put(ACCOUNT, b"", self.row.encode_to_vec());
        step.event(Event::Account);
    }
}

/// The record that the next home has to take.
pub(crate) fn next(row: &schema::Account) -> Option<Bundle> {
    (!row.next.is_empty()).then(|| Bundle::verify(&row.next).ok()).flatten()
}

/// Homes that are remembered because they were left: as many as a record names.
const FORMER_MAX: usize = limits::RANKING_MAX;
/// For how long: an invite that is older has most likely expired.
const FORMER_KEPT_S: u64 = 60 * 24 * 3600;
