//! Homes: which two of the account's are active, which of them is the primary, and when that
//! changes. Specified in `spec/delivery.md`, section 8.

use std::time::Duration;

use proto::{NodeAddress, NodeId, Ranking};

use super::{Account, AccountEvent};
use crate::{
    Event,
    identity::ActiveHomes,
    link::{Channel, ChannelUse, InboxUse, Links},
    ranking::ACTIVE_HOMES,
    step::{Durability, Step},
    topics::{AccountRequest, AccountTimer, Request, Timer},
};

/// Which homes there are.
impl Account {
    pub(crate) fn homes(&self) -> ActiveHomes {
        let node = |home: Option<&NodeAddress>| home.map(|home| home.node);
        ActiveHomes::new(node(self.primary()), node(self.secondary()))
    }

    fn primary(&self) -> Option<&NodeAddress> {
        self.active.get(usize::from(self.swapped)).or_else(|| self.bundle.homes().first())
    }

    fn secondary(&self) -> Option<&NodeAddress> {
        self.active.get(usize::from(!self.swapped))
    }

    /// The homes that this device talks with, in the order of the record.
    pub(crate) fn active_homes(&self) -> &[NodeAddress] {
        &self.active
    }

    pub(crate) fn is_active_home(&self, node: &NodeId) -> bool {
        self.active.iter().any(|home| home.node == *node)
    }

    /// Returns whether a home is active only while another one is unreachable.
    pub(super) fn is_reserve_home(&self, node: &NodeId) -> bool {
        let mut reserve = self.bundle.homes().iter().skip(ACTIVE_HOMES);
        reserve.any(|home| home.node == *node)
    }

    /// Who holds the inbox, of which reserve homes have to be told.
    pub(super) fn inbox_ranking(&self) -> Ranking {
        let homes = self.bundle.homes().iter();
        Ranking {
            version: self.bundle.rank().2,
            nodes: homes.clone().take(ACTIVE_HOMES).cloned().collect(),
            reserve: homes.skip(ACTIVE_HOMES).cloned().collect(),
        }
    }
}

/// Failover between the two active homes.
impl Account {
    /// Fails over if the secondary home is the better one, and sees to it that a failing primary is
    /// noticed. Called when all of an input is done.
    pub(crate) fn check_primary(&mut self, step: &mut Step<'_>, links: &Links) {
        if self.is_locked_out() {
            return;
        }
        let (Some(primary), Some(secondary)) = (self.primary(), self.secondary()) else { return };
        let (primary, secondary) = (primary.node, secondary.node);
        if self.is_better(step, links, &secondary, &primary) {
            return self.fail_over(step);
        }
        let timer = Timer::Account(AccountTimer::CheckPrimary);
        if step.timers().is_armed(timer) || !links.is_up(&secondary) {
            return;
        }
        let soon = step.now().after(links.response_timeout(&primary).min(CHECK_EVERY));
        if is_failing(step, links, &primary) {
            let due = soon.max(self.hold_down.until(step.now()));
            step.timers().arm(due, timer);
        } else if links.silent_since(&primary).is_some() {
            step.timers().arm(soon, timer);
        }
    }

    /// Returns whether the secondary home should become the primary.
    fn is_better(
        &self,
        step: &Step<'_>,
        links: &Links,
        secondary: &NodeId,
        primary: &NodeId,
    ) -> bool {
        if is_failing(step, links, secondary) {
            return false;
        }
        let now = step.now();
        let hold_until = self.hold_down.until(now);
        let penalised = |node| self.reputation.penalised_until(node, now);
        match (penalised(primary), penalised(secondary)) {
            (None, None) => {
                let is_worse = is_failing(step, links, primary)
                    || links.is_consistently_slower(primary, secondary);
                is_worse && now >= hold_until
            }
            // Only when needed.
            (None, Some(_)) => is_gone(step, links, primary) && now >= hold_until,
            (Some(_), None) => true,
            // Whatever the one refuses, the other is asked.
            (Some(of_primary), Some(of_secondary)) => {
                let (if_it_fails, if_it_refuses) = self.hold_down.until_while_penalised();
                is_failing(step, links, primary) && now >= if_it_fails
                    || of_secondary < of_primary && now >= if_it_refuses
            }
        }
    }

    fn fail_over(&mut self, step: &mut Step<'_>) {
        step.require(Durability::First);
        step.timers().disarm(Timer::Account(AccountTimer::CheckPrimary));
        let is_penalised =
            |home: &NodeAddress| self.reputation.penalised_until(&home.node, step.now()).is_some();
        let forced =
            self.primary().is_some_and(is_penalised) && self.secondary().is_some_and(is_penalised);
        self.swapped = !self.swapped && self.active.len() > 1;
        self.hold_down.on_failover(step.now(), forced);
        self.events.push(AccountEvent::HomesChanged { is_failover: true });
        step.emit(Event::Account);
    }
}

/// Returns whether a node is gone, silent although it was asked something, or does not serve this
/// account.
fn is_failing(step: &Step<'_>, links: &Links, node: &NodeId) -> bool {
    is_silent_for(step, links, node, links.response_timeout(node))
}

/// The same of one that is not worth waiting for any longer.
fn is_gone(step: &Step<'_>, links: &Links, node: &NodeId) -> bool {
    is_silent_for(step, links, node, TIMEOUT_IF_PENALISED)
}

fn is_silent_for(step: &Step<'_>, links: &Links, node: &NodeId, timeout: Duration) -> bool {
    !links.is_up(node)
        || links.silent_since(node).is_some_and(|since| step.now() >= since.after(timeout))
        || is_closed(links, node)
}

/// Returns whether a node would not let this account in.
fn is_closed(links: &Links, node: &NodeId) -> bool {
    let puts =
        |request: &Request| matches!(request, Request::Account(AccountRequest::PutBundle(_)));
    let is_inbox = |channel: &Channel| channel.is_for(ChannelUse::Inbox(InboxUse::Current));
    links.pending(node, puts) == 0 && !links.has(node, is_inbox)
}

/// Reserve homes: when an active one has been unreachable for long, the next one of the record is
/// active meanwhile.
impl Account {
    /// Sees to it that a home which stays unreachable is noticed. Called when all of an input is
    /// done.
    pub(crate) fn check_unreachable(&self, step: &mut Step<'_>, links: &Links) {
        if self.is_locked_out() || self.bundle.homes().len() <= ACTIVE_HOMES {
            return;
        }
        let is_homeless = self.active.iter().all(|home| !links.is_up(&home.node));
        let due = step.now().after(if is_homeless { HOMELESS_AFTER } else { UNREACHABLE_AFTER });
        for NodeAddress { node, .. } in &self.active {
            let is_known = self.unreachable.contains(node);
            let timer = Timer::Account(AccountTimer::Unreachable(*node));
            let is_later = step.timers().due(timer).is_some_and(|at| at > due);
            if links.is_up(node) || is_known || is_later {
                step.timers().disarm(timer);
            }
            if !links.is_up(node) && !is_known {
                step.timers().arm(due, timer);
            }
        }
    }

    /// A home has been unreachable for long, or is back: then it is active again.
    pub(super) fn set_unreachable(
        &mut self,
        step: &mut Step<'_>,
        links: &mut Links,
        node: &NodeId,
        is_unreachable: bool,
    ) {
        let (homes_before, active_before) = (self.homes(), self.active.clone());
        let is_news = if is_unreachable {
            self.unreachable.insert(*node)
        } else {
            self.unreachable.remove(node)
        };
        if !is_news || !self.choose_active() {
            return;
        }
        for home in self.active.iter().filter(|home| !active_before.contains(home)) {
            // Where a contact is at home as well there is a connection, and no event that it is up.
            if self.is_reserve_home(&home.node) && links.is_up(&home.node) {
                self.arm_reserve(step, &home.node);
            }
        }
        for home in &self.active {
            links.want(step, home);
        }
        step.drop_idle_links();
        let is_failover = self.homes().primary() != homes_before.primary();
        self.events.push(AccountEvent::HomesChanged { is_failover });
        step.emit(Event::Account);
    }

    /// Of the homes that are reachable the first two are active, of the others as many as are
    /// lacking. The primary stays the same if it stays active. Returns whether others are active
    /// now.
    pub(super) fn choose_active(&mut self) -> bool {
        let primary = self.primary().map(|home| home.node);
        let homes = self.bundle.homes();
        self.unreachable.retain(|node| homes.iter().any(|home| home.node == *node));
        let is_away = |home: &&NodeAddress| self.unreachable.contains(&home.node);
        let here = homes.iter().filter(|home| !is_away(home));
        let chosen: Vec<_> = here.chain(homes.iter().filter(is_away)).take(ACTIVE_HOMES).collect();
        let active: Vec<_> = homes.iter().filter(|home| chosen.contains(home)).cloned().collect();
        let changes = active != self.active;
        self.active = active;
        self.swapped = self.active.iter().position(|other| Some(other.node) == primary) == Some(1);
        changes
    }

    /// A reserve home is connected: unless the others turn up as well within seconds, because it
    /// was this device that was offline, it serves.
    pub(super) fn arm_reserve(&self, step: &mut Step<'_>, node: &NodeId) {
        let timer = Timer::Account(AccountTimer::ServeReserve(*node));
        step.arm(TURN_UP_TIME, timer);
    }
}

/// How long the primary may be silent before it is replaced by a penalised one.
const TIMEOUT_IF_PENALISED: Duration = Duration::from_secs(10);
/// How often to check whether the primary has answered: several times in a second.
const CHECK_EVERY: Duration = Duration::from_millis(200);
/// After how long a home that can't be reached counts as unreachable: as for nodes by default.
const UNREACHABLE_AFTER: Duration = Duration::from_secs(600);
/// The same while no home can be reached: then there is nothing to lose by asking one more.
const HOMELESS_AFTER: Duration = Duration::from_secs(10);
/// How long the other homes have to turn up when a reserve one does.
const TURN_UP_TIME: Duration = Duration::from_secs(10);
