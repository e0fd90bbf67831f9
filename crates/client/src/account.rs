//! The own account: making it, bringing it back, and keeping its home node supplied with the
//! record, key packages and invites. Specified in `spec/accounts.md`.

mod moving;
mod reserve;

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use crypto::{Authority, Bundle, Cgka, InboxKey, Mls, Phrase, RecordDraft, SigningKey, Standing};
use prost::Message;
use proto::{
    AccountId, Body, Code, Instant, LogGenesis, LogId, NodeAddress, NodeId, PublicKey,
    PutKeyPackages, Rows, limits,
};
use rand_core::Rng;
use sha2::{Digest, Sha256};

use crate::{
    CommandError, Event, InviteLink, Reply,
    conversation::Own,
    invite_link::invite_key,
    link::{Ask, Links, Opening, Purpose},
    schema::{self, ACCOUNT, INVITES, KEY_PACKAGES},
    step::Step,
};
use moving::Former;
pub(crate) use moving::next;

/// The account of this device.
pub(crate) struct Me {
    pub(crate) account: AccountId,
    pub(crate) device: SigningKey,
    pub(crate) inbox: InboxKey,
    pub(crate) bundle: Bundle,
    /// The record that the next home has to take.
    next: Option<Bundle>,
    former: Vec<Former>,
    /// Homes that have been out of reach for long.
    away: BTreeSet<NodeId>,
    /// The first two that are not.
    serving: Vec<NodeAddress>,
    /// The stand-in serves as the home.
    stands_in: bool,
    row: schema::Account,
}

/// An account that is being brought back: its bundle is being asked for.
pub(crate) struct Recovery {
    pub(crate) ticket: u64,
    phrase: Phrase,
    name: String,
    homes: Vec<NodeAddress>,
}

impl Me {
    pub(crate) fn load(rows: &dyn Rows) -> Option<Self> {
        let row: schema::Account = schema::load(rows, ACCOUNT, b"")?;
        let bundle = Bundle::verify(&row.bundle).ok()?;
        Some(Self {
            account: bundle.account(),
            device: SigningKey::from_seed(row.device_seed.as_slice().try_into().ok()?),
            inbox: InboxKey::from_seed(row.inbox_seed.as_slice().try_into().ok()?),
            next: next(&row),
            former: row.former.iter().filter_map(Former::load).collect(),
            away: BTreeSet::new(),
            serving: served(&bundle).to_vec(),
            stands_in: false,
            bundle,
            row,
        })
    }

    /// Makes a new account, its first device and its first record.
    pub(crate) fn create(
        step: &mut Step<'_>,
        phrase: &Phrase,
        name: String,
        homes: Vec<NodeAddress>,
    ) -> Result<Self, CommandError> {
        check_new(&name, &homes)?;
        let authority = Authority::create(phrase, &mut step.rng);
        Self::settle(step, &authority, (1, limits::COPIES_MIN), name, homes)
    }

    /// Signs a record whose only device is this one, and keeps all of it.
    fn settle(
        step: &mut Step<'_>,
        authority: &Authority,
        (version, copies): (u64, u32),
        name: String,
        homes: Vec<NodeAddress>,
    ) -> Result<Self, CommandError> {
        let (mut device_seed, mut inbox_seed) = ([0; 32], [0; 32]);
        step.rng.fill_bytes(&mut device_seed);
        step.rng.fill_bytes(&mut inbox_seed);
        let (device, inbox) = (SigningKey::from_seed(device_seed), InboxKey::from_seed(inbox_seed));
        let bundle = authority
            .sign_record(RecordDraft {
                version,
                devices: vec![crypto::Device { key: device.public(), added_s: step.now.as_secs() }],
                homes,
                copies,
                inbox_key: inbox.public(),
            })
            .map_err(|_| CommandError::BadRequest("its record would be too large"))?;
        let row = schema::Account {
            authority: authority.encode().to_vec(),
            device_seed: device_seed.to_vec(),
            inbox_seed: inbox_seed.to_vec(),
            bundle: bundle.as_bytes().to_vec(),
            name,
            superseded_by: Vec::new(),
            account: bundle.account().0.to_vec(),
            ..schema::Account::default()
        };
        step.draft.put(ACCOUNT, b"", row.encode_to_vec());
        let account = bundle.account();
        let me = Self {
            account,
            device,
            inbox,
            next: None,
            former: Vec::new(),
            away: BTreeSet::new(),
            serving: served(&bundle).to_vec(),
            bundle,
            stands_in: false,
            row,
        };
        me.make_key_packages(step, PACKAGES_WANTED, true);
        step.event(Event::Account);
        Ok(me)
    }

    /// A newer bundle than this device's was published: it is locked out.
    pub(crate) fn locked_out(&self) -> bool {
        !self.row.superseded_by.is_empty()
    }

    /// Remembers why a home does not serve the account, or that it does.
    pub(crate) fn set_trouble(&mut self, step: &mut Step<'_>, node: &NodeId, code: Option<Code>) {
        let why = match code {
            None => None,
            Some(Code::Closed) => Some("the home node takes no new accounts".to_owned()),
            Some(Code::Full | Code::Quota) => Some("the home node is full".to_owned()),
            Some(Code::Stale) => Some("a newer record of the account is out".to_owned()),
            Some(refused) => Some(format!("the home node refused ({refused:?})")),
        };
        let others = self.row.refusals.iter().filter(|refusal| {
            let is_of = |home: &NodeAddress| home.node.0 == *refusal.node;
            refusal.node != node.0 && self.served().iter().any(is_of)
        });
        let this = why.map(|why| schema::Refusal { node: node.0.to_vec(), why });
        let refusals: Vec<_> = others.cloned().chain(this).collect();
        if self.row.refusals != refusals {
            self.row.refusals = refusals;
            step.draft.put(ACCOUNT, b"", self.row.encode_to_vec());
            step.event(Event::Account);
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.row.name
    }

    /// The home that this device talks with: the first, or who stands in for it.
    pub(crate) fn home(&self) -> Option<&NodeAddress> {
        self.served().get(usize::from(self.stands_in)).or_else(|| self.bundle.homes().first())
    }

    /// Who takes the home's place if that fails.
    pub(crate) fn stand_in(&self) -> Option<&NodeAddress> {
        self.served().get(usize::from(!self.stands_in))
    }

    /// Home and stand-in, which hold everything of the account's, in the order of the record.
    pub(crate) fn served(&self) -> &[NodeAddress] {
        &self.serving
    }

    pub(crate) fn is_served(&self, node: &NodeId) -> bool {
        self.served().iter().any(|home| home.node == *node)
    }

    pub(crate) fn own(&self) -> Own {
        let node = |home: Option<&NodeAddress>| home.map(|home| home.node);
        Own { home: node(self.home()), stand_in: node(self.stand_in()) }
    }

    /// Homes that hold all that the account has although no device talks with them.
    pub(crate) fn extra_homes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.bundle.homes().iter().take(self.bundle.copies()).skip(HOMES_SERVED)
    }

    /// How many nodes have to hold an entry before it is called stored.
    pub(crate) fn receipts(&self) -> usize {
        (self.row.receipts as usize).max(RECEIPTS_MIN)
    }

    /// Home and stand-in change places.
    pub(crate) fn change_places(&mut self) {
        self.stands_in = !self.stands_in && self.served().len() > 1;
    }

    pub(crate) fn inbox_log(&self) -> LogId {
        LogGenesis::Inbox(self.account).id()
    }

    /// A home is there: first it must know the account's newest bundle.
    pub(crate) fn home_is_up(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        if !self.locked_out() {
            self.put_bundle(step, links, node);
        }
    }

    fn put_bundle(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        let goes_on = links.awaited(node, |ask| matches!(ask, Ask::PutBundle(_))) > 0;
        if links.is_up(node) && !goes_on {
            let (ask, bundle) = (Ask::PutBundle(self.bundle.rank().2), self.bundle.as_bytes());
            links.ask(step, node, ask, Body::PutBundle(bundle.to_vec()));
        }
    }

    /// A home knows the bundle: open the inbox.
    pub(crate) fn bundle_is_known(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        let log = self.inbox_log();
        let cursor = crate::sync::cursor(&step.draft, node, &log);
        let opening = Opening {
            log,
            key: &self.device,
            purpose: Purpose::Home,
            genesis: None,
            tail: Some(cursor),
            brief: false,
            ranking: self.is_in_reserve(node).then(|| self.inbox_ranking()),
        };
        links.open(step, node, opening);
    }

    /// The inbox is open: hand in whatever the home node lacks.
    pub(crate) fn inbox_is_open(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        self.upload_key_packages(step, links, node);
        for (key, invite) in schema::load_all::<schema::Invite>(&step.draft, INVITES, b"") {
            if let (Ok(key), false) = (PublicKey::try_from(key.as_slice()), invite.is_at(node)) {
                self.register_again(step, links, node, &key);
            }
        }
    }

    /// Registers an invite that a home has not taken yet, unless its time is over.
    pub(crate) fn register_again(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        key: &PublicKey,
    ) {
        let Some(invite) = schema::load::<schema::Invite>(&step.draft, INVITES, &key.0) else {
            return;
        };
        if invite.expires_s <= step.now.as_secs() {
            step.draft.delete(INVITES, key.0);
            step.event(Event::Account);
        } else if !invite.is_at(node) && invite.used < invite.uses {
            self.register_invite(step, links, node, *key, &invite);
        }
    }

    /// The home node refused the bundle because it knows a better one.
    pub(crate) fn superseded(&mut self, step: &mut Step<'_>, newer: &[u8]) {
        let Ok(newer) = Bundle::verify(newer) else { return };
        // What lists this device only this device has signed: it is about to move.
        let ours = newer.account() == self.account && !newer.has_device(&self.device.public());
        if ours && self.bundle.compare(&newer) == Standing::Older {
            self.row.superseded_by = newer.as_bytes().to_vec();
            step.draft.put(ACCOUNT, b"", self.row.encode_to_vec());
            step.event(Event::Account);
        }
    }

    pub(crate) fn invite(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        uses: u32,
        valid_s: u64,
    ) -> Result<Reply, CommandError> {
        let now_s = step.now.as_secs();
        let mut open = 0_usize;
        for (key, invite) in schema::load_all::<schema::Invite>(&step.draft, INVITES, b"") {
            if invite.expires_s <= now_s {
                step.draft.delete(INVITES, key);
            } else {
                open = open.saturating_add(1);
            }
        }
        if open >= limits::INVITES_MAX {
            return Err(CommandError::TooMany(limits::INVITES_MAX));
        }
        let mut token = [0; 16];
        step.rng.fill_bytes(&mut token);
        let invite = schema::Invite {
            token: token.to_vec(),
            expires_s: now_s.saturating_add(valid_s),
            uses: uses.max(1),
            used: 0,
            homes: Vec::new(),
        };
        let key = invite_key(&token).public();
        step.draft.put(INVITES, key.0, invite.encode_to_vec());
        for home in self.served() {
            self.register_invite(step, links, &home.node, key, &invite);
        }
        let nodes = self.bundle.homes().iter().take(2).cloned().collect();
        Ok(Reply::Link(InviteLink { account: self.account, nodes, token }))
    }

    /// Somebody has come by an invite.
    pub(crate) fn invite_was_used(step: &mut Step<'_>, key: &PublicKey) {
        if let Some(mut invite) = schema::load::<schema::Invite>(&step.draft, INVITES, &key.0) {
            invite.used = invite.used.saturating_add(1);
            step.draft.put(INVITES, key.0, invite.encode_to_vec());
        }
    }

    pub(crate) fn invite_is_registered(step: &mut Step<'_>, node: &NodeId, key: &PublicKey) {
        if let Some(mut invite) = schema::load::<schema::Invite>(&step.draft, INVITES, &key.0) {
            note(&mut invite.homes, node);
            step.draft.put(INVITES, key.0, invite.encode_to_vec());
            step.event(Event::Account);
        }
    }

    /// The home node took these key packages and has `left` one-time ones. If more are wanted than
    /// may be made now, returns when to ask again.
    pub(crate) fn key_packages_are_up(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        hashes: Vec<Vec<u8>>,
        left: u32,
    ) -> Option<Instant> {
        for hash in hashes {
            let package = schema::load::<schema::KeyPackage>(&step.draft, KEY_PACKAGES, &hash);
            if let Some(mut package) = package {
                note(&mut package.homes, node);
                step.draft.put(KEY_PACKAGES, hash, package.encode_to_vec());
            }
        }
        step.event(Event::Account);
        let left = usize::try_from(left).unwrap_or(PACKAGES_WANTED);
        let lacking = PACKAGES_WANTED.saturating_sub(left);
        if lacking <= PACKAGES_WANTED / 2 {
            return None;
        }
        let stored = one_time_packages(&step.draft);
        let recent: Vec<_> = stored
            .iter()
            .map(|(made_s, _)| Instant::from_secs(*made_s))
            .filter(|made| *made <= step.now && step.now.since(*made) < REFILL_TIME)
            .collect();
        let most = REFILL_MAX.saturating_mul(self.served().len());
        if recent.len().saturating_add(lacking) > most {
            return recent.first().map(|oldest| oldest.after(REFILL_TIME));
        }
        self.make_key_packages(step, lacking, false);
        self.upload_key_packages(step, links, node);
        None
    }

    /// The home node took none of these key packages.
    pub(crate) fn key_packages_refused(step: &mut Step<'_>, hashes: Vec<Vec<u8>>) {
        for hash in hashes {
            let package = schema::load::<schema::KeyPackage>(&step.draft, KEY_PACKAGES, &hash);
            if let Some(mut package) = package {
                package.offered = false;
                step.draft.put(KEY_PACKAGES, hash, package.encode_to_vec());
            }
        }
    }

    fn make_key_packages(&self, step: &mut Step<'_>, count: usize, last_resort: bool) {
        forget_key_packages(step, KEY_PACKAGES_KEPT_MAX.saturating_sub(count));
        for i in 0..count.saturating_add(usize::from(last_resort)) {
            let Ok((public, secret)) = Mls.key_package(&self.device, &self.account, &mut step.rng)
            else {
                return;
            };
            let hash = Sha256::digest(&public);
            let package = schema::KeyPackage {
                public,
                secret: secret.to_vec(),
                last_resort: last_resort && i == count,
                offered: false,
                homes: Vec::new(),
                made_s: step.now.as_secs(),
            };
            step.draft.put(KEY_PACKAGES, hash.to_vec(), package.encode_to_vec());
        }
    }

    /// Hands in what was never handed in, in one frame. Asking without packages only asks how many
    /// are left. Of those handed in on a connection that was lost, the node's count tells enough.
    pub(crate) fn upload_key_packages(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
    ) {
        let log = self.inbox_log();
        let Some(handle) = links.find(node, |handle| handle.log == log) else { return };
        if links.awaited(node, |ask| matches!(ask, Ask::PutKeyPackages(_))) > 0 {
            return;
        }
        let mut put = PutKeyPackages {
            handle,
            device: self.device.public(),
            one_time: Vec::new(),
            last_resort: Vec::new(),
        };
        let mut hashes = Vec::new();
        let all = schema::load_all::<schema::KeyPackage>(&step.draft, KEY_PACKAGES, b"");
        for (hash, mut package) in all.into_iter().filter(|(_, package)| package.lacks(node)) {
            if hashes.len() >= limits::KEY_PACKAGES_MAX {
                break;
            }
            if package.last_resort {
                put.last_resort = package.public;
            } else if !package.offered {
                package.offered = true;
                step.draft.put(KEY_PACKAGES, hash.clone(), package.encode_to_vec());
                put.one_time.push(package.public);
            }
            hashes.push(hash);
        }
        links.ask(step, node, Ask::PutKeyPackages(hashes), Body::PutKeyPackages(put));
    }

    fn register_invite(
        &self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        key: PublicKey,
        invite: &schema::Invite,
    ) {
        let log = self.inbox_log();
        let Some(handle) = links.find(node, |handle| handle.log == log) else { return };
        let (expires_s, uses) = (invite.expires_s, invite.uses.saturating_sub(invite.used));
        let body = Body::PutInvite { handle, key, expires_s, uses };
        links.ask(step, node, Ask::PutInvite(key), body);
    }
}

impl Recovery {
    pub(crate) fn begin(
        step: &mut Step<'_>,
        links: &mut Links,
        ticket: u64,
        (phrase, name, homes): (Phrase, String, Vec<NodeAddress>),
    ) -> Result<Self, CommandError> {
        check_new(&name, &homes)?;
        let recovery = Self { ticket, phrase, name, homes };
        for home in &recovery.homes {
            links.want(step, home);
            if links.is_up(&home.node) {
                recovery.node_is_up(step, links, &home.node);
            }
        }
        Ok(recovery)
    }

    pub(crate) fn node_is_up(&self, step: &mut Step<'_>, links: &mut Links, node: &NodeId) {
        let account = self.account();
        links.ask(step, node, Ask::GetBundle(account), Body::GetBundle(account));
    }

    pub(crate) fn account(&self) -> AccountId {
        self.phrase.genesis().account()
    }

    /// The account's newest bundle is here: delegate anew, which locks out every device it had.
    pub(crate) fn finish(self, step: &mut Step<'_>, bundle: &[u8]) -> Result<Me, CommandError> {
        let old = Bundle::verify(bundle)
            .ok()
            .filter(|bundle| bundle.account() == self.account())
            .ok_or(CommandError::UnknownAccount)?;
        let authority = Authority::delegate(&self.phrase, Some(&old), &mut step.rng)
            .map_err(|_| CommandError::UnknownAccount)?;
        let next = old.next_draft();
        Me::settle(step, &authority, (next.version, next.copies), self.name, self.homes)
    }
}

fn check_new(name: &str, homes: &[NodeAddress]) -> Result<(), CommandError> {
    if name.len() > limits::NAME_MAX {
        return Err(CommandError::TooLong(limits::NAME_MAX));
    }
    if homes.is_empty() || homes.len() > limits::RANKING_MAX {
        return Err(CommandError::NoHome);
    }
    Ok(())
}

/// The homes of an account with which its devices talk: the first, and one that can take its place at
/// once.
pub(crate) fn served(bundle: &Bundle) -> &[NodeAddress] {
    let homes = bundle.homes();
    homes.get(..HOMES_SERVED).unwrap_or(homes)
}

impl schema::Invite {
    pub(crate) fn is_at(&self, home: &NodeId) -> bool {
        self.homes.iter().any(|node| node == &home.0)
    }
}

impl schema::KeyPackage {
    pub(crate) fn is_at(&self, home: &NodeId) -> bool {
        self.homes.iter().any(|node| node == &home.0)
    }

    /// Whether a home has yet to get it. A one-time package is for one home.
    fn lacks(&self, home: &NodeId) -> bool {
        if self.last_resort { !self.is_at(home) } else { self.homes.is_empty() }
    }
}

/// Notes that a home has something; of many that had it the last count.
fn note(homes: &mut Vec<Vec<u8>>, home: &NodeId) {
    homes.retain(|node| node != &home.0);
    homes.push(home.0.to_vec());
    let excess = homes.len().saturating_sub(limits::RANKING_MAX);
    homes.drain(..excess);
}

/// When each one-time key package was made, and its hash; the oldest first.
fn one_time_packages(rows: &dyn Rows) -> Vec<(u64, Vec<u8>)> {
    let all = key_package_secrets(rows).into_iter().filter(|(_, package)| !package.last_resort);
    let mut all: Vec<_> = all.map(|(hash, package)| (package.made_s, hash)).collect();
    all.sort_unstable();
    all
}

/// The secrets of all key packages, to find the one that a Welcome is for.
pub(crate) fn key_package_secrets(rows: &dyn Rows) -> Vec<(Vec<u8>, schema::KeyPackage)> {
    let mut all = Vec::new();
    schema::each(rows, KEY_PACKAGES, b"", &mut |hash, row| {
        all.extend(schema::KeyPackage::decode(row).ok().map(|package| (hash.to_vec(), package)));
        ControlFlow::Continue(())
    });
    all
}

/// Forgets the oldest one-time key packages beyond `kept`. Those were taken and never used, or the
/// node lost them.
fn forget_key_packages(step: &mut Step<'_>, kept: usize) {
    let excess = one_time_packages(&step.draft).into_iter().rev().skip(kept);
    for (_, hash) in excess {
        step.draft.delete(KEY_PACKAGES, hash);
    }
}

/// Homes that a device talks with. If the account wants more copies than these have, nodes see to it.
pub const HOMES_SERVED: usize = limits::COPIES_MIN as usize;
/// Nodes that have to hold an entry before it is called stored, at least: any one of them may be lost.
pub(crate) const RECEIPTS_MIN: usize = 2;
/// One-time key packages that each home should have: more people than add one account between
/// two of its visits, and few enough to hand in in one frame.
const PACKAGES_WANTED: usize = limits::KEY_PACKAGES_MAX / 4;
/// One-time key packages whose secrets are kept: four times what a node holds, because one that
/// was taken may be used a month later.
const KEY_PACKAGES_KEPT_MAX: usize = 4 * limits::KEY_PACKAGES_MAX;
/// How many may be made within [`REFILL_TIME`] for each home: those of a new account, and once more if
/// they were lost on the way or taken at once. After that there is the last resort.
const REFILL_MAX: usize = 2 * PACKAGES_WANTED;
const REFILL_TIME: Duration = Duration::from_secs(600);
