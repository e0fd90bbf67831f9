//! Homes in reserve: when one of the two that serve the account has been out of reach for long, the next
//! one of the record serves it meanwhile. Specified in `spec/delivery.md`, section 8.

use std::time::Duration;

use proto::{Instant, NodeAddress, NodeId, Ranking};

use super::{HOMES_SERVED, Me};
use crate::{Client, Event, machine::Timer, step::Step};

impl Me {
    /// Whether a home serves only while another one is away.
    pub(crate) fn is_in_reserve(&self, node: &NodeId) -> bool {
        let mut reserve = self.bundle.homes().iter().skip(HOMES_SERVED);
        reserve.any(|home| home.node == *node)
    }

    /// Homes that are looked for although they have been out of reach for long.
    pub(crate) fn homes_away(&self) -> impl Iterator<Item = &NodeAddress> {
        self.bundle.homes().iter().filter(|home| self.away.contains(&home.node))
    }

    /// Who holds the inbox, which whoever only stands by has to be told.
    pub(super) fn inbox_ranking(&self) -> Ranking {
        let homes = self.bundle.homes().iter();
        Ranking {
            version: self.bundle.rank().2,
            nodes: homes.clone().take(HOMES_SERVED).cloned().collect(),
            standbys: homes.skip(HOMES_SERVED).cloned().collect(),
        }
    }

    /// A home has been out of reach for long, or is there again. Tells whether others serve now.
    fn set_away(&mut self, node: NodeId, is_away: bool) -> bool {
        let is_news = if is_away { self.away.insert(node) } else { self.away.remove(&node) };
        is_news && self.choose_serving()
    }

    /// Of the homes that are not away the first two serve, of the others as many as are lacking. The
    /// home stays the same if it goes on serving. Tells whether others serve now.
    pub(super) fn choose_serving(&mut self) -> bool {
        let home = self.home().map(|home| home.node);
        let homes = self.bundle.homes();
        self.away.retain(|away| homes.iter().any(|home| home.node == *away));
        let is_away = |home: &&NodeAddress| self.away.contains(&home.node);
        let here = homes.iter().filter(|home| !is_away(home));
        let chosen: Vec<_> = here.chain(homes.iter().filter(is_away)).take(HOMES_SERVED).collect();
        let serving: Vec<_> = homes.iter().filter(|home| chosen.contains(home)).cloned().collect();
        let changes = serving != self.serving;
        self.serving = serving;
        self.stands_in = self.serving.iter().position(|other| Some(other.node) == home) == Some(1);
        changes
    }
}

impl Client {
    /// Sees to it that a home which stays out of reach is noticed. Called when all of an input is done.
    pub(crate) fn watch_absence(&mut self, now: Instant) {
        let Some(me) = self.me.as_ref().filter(|me| !me.locked_out()) else { return };
        if me.bundle.homes().len() <= HOMES_SERVED {
            return;
        }
        let serving = me.served().iter().map(|home| (home.node, me.away.contains(&home.node)));
        let serving: Vec<_> = serving.collect();
        let is_homeless = serving.iter().all(|(node, _)| !self.links.is_up(node));
        let due = now.after(if is_homeless { HOMELESS_AFTER } else { AWAY_AFTER });
        for (node, is_away) in serving {
            let timer = Timer::Away(node);
            if self.links.is_up(&node) || is_away || self.due(timer).is_some_and(|at| at > due) {
                self.disarm(timer);
            }
            if !self.links.is_up(&node) && !is_away {
                self.arm(due, timer);
            }
        }
    }

    /// A home has been out of reach for long.
    pub(crate) fn home_is_away(&mut self, step: &mut Step<'_>, node: &NodeId) {
        if !self.links.is_up(node) {
            self.serve_elsewhere(step, node, true);
        }
    }

    /// A home is there: if it had been away, it serves again.
    pub(crate) fn home_is_back(&mut self, step: &mut Step<'_>, node: &NodeId) {
        self.serve_elsewhere(step, node, false);
    }

    fn serve_elsewhere(&mut self, step: &mut Step<'_>, node: &NodeId, is_away: bool) {
        let Some(me) = &mut self.me else { return };
        let (before, served_before) = (me.own(), me.served().to_vec());
        if !me.set_away(*node, is_away) {
            return;
        }
        let (own, serving) = (me.own(), me.served().to_vec());
        let joins = |home: &NodeAddress| !served_before.contains(home);
        let in_reserve: Vec<_> =
            serving.iter().filter(|home| joins(home) && me.is_in_reserve(&home.node)).collect();
        for home in in_reserve {
            // Where a contact is at home as well there is a connection, and nobody will say that it is up.
            if self.links.is_up(&home.node) {
                self.reserve_is_up(step, &home.node);
            }
        }
        for home in &serving {
            self.links.want(step, home);
        }
        self.drop_idle_links(step);
        if own.home == before.home {
            self.conversations.values_mut().for_each(|conversation| conversation.own = own);
        } else {
            self.reopen_at_homes(step);
        }
        step.event(Event::Account);
    }

    /// A home in reserve is connected: unless the others turn up as well in a moment, because it was this
    /// device that was away, it takes part.
    pub(crate) fn reserve_is_up(&mut self, step: &Step<'_>, node: &NodeId) {
        self.arm(step.now.after(TURN_UP_TIME), Timer::Reserve(*node));
    }

    /// A home in reserve has to serve indeed.
    pub(crate) fn reserve_serves(&mut self, step: &mut Step<'_>, node: &NodeId) {
        if let Some(me) = self.me.as_ref().filter(|me| me.is_served(node)) {
            me.home_is_up(step, &mut self.links, node);
        }
    }
}

/// After how long a home that can't be reached is taken to be gone: as nodes do by default.
const AWAY_AFTER: Duration = Duration::from_secs(600);
/// The same while no home can be reached: then there is nothing to lose by asking one more.
const HOMELESS_AFTER: Duration = Duration::from_secs(10);
/// How long the other homes have to turn up when one in reserve does.
const TURN_UP_TIME: Duration = Duration::from_secs(10);
