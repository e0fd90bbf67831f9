//! How a connection comes to be: hello, answer, and the dialler's last word, with which its first
//! frames may travel.

use std::time::Duration;

use proto::Instant;

use super::{
    link::{End, Link, State},
    packet::{Call, LinkId, Notice, Side, Way, What},
    paths::Paths,
};

impl Link {
    /// Dials, if a host may answer. Otherwise the dial fails after a while.
    pub(super) fn dial(id: LinkId, call: Call, now: Instant, paths: &mut Paths) -> Option<Self> {
        if !paths.is_up(call.from) {
            return None;
        }
        let to = paths.at(call.to).filter(|to| {
            let reachable = paths.port(*to).is_some_and(|port| port.reachable);
            reachable && paths.is_up(*to) && paths.severed(call.from, *to).is_none()
        });
        if let Some(to) = to {
            let hello = paths.signal(call.from, to, now);
            if hello.arrives < now.after(ATTEMPT_MAX) {
                paths.enter(hello.arrives, id, Side::Dialler, What::Hello);
                let dialler = End::new(call.from, now, paths);
                let listener = End::new(to, now, paths);
                return Some(Self { id, call, dialled: now, dialler, listener, troubled: false });
            }
        }
        let (host, life) = (call.from, paths.life(call.from));
        let unanswered = Way::Unanswered { host, life, peer: call.peer };
        paths.enter_way(now.after(ATTEMPT_MAX), unanswered);
        None
    }

    pub(super) fn hello(&mut self, now: Instant, paths: &mut Paths) {
        let host = self.listener.host;
        let deadline = self.dialled.after(ATTEMPT_MAX);
        if !paths.is_up(host) || self.severed(paths).is_some() {
            return self.fail(deadline, paths);
        }
        let answer = paths.signal(host, self.dialler.host, now);
        let key = paths.port(host).and_then(|port| port.key);
        if key != Some(self.call.peer) || answer.arrives > deadline {
            return self.fail(answer.arrives.min(deadline), paths);
        }
        self.listener = End::new(host, now, paths);
        paths.join(host, self.id);
        let departs = answer.departs;
        paths.enter(answer.arrives, self.id, Side::Listener, What::Answer { departs });
    }

    pub(super) fn answer(
        &mut self,
        departs: Instant,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        if self.listener.left_before(departs) || self.severed(paths).is_some() {
            self.fail(self.dialled.after(ATTEMPT_MAX), paths);
            return None;
        }
        let finish = paths.signal(self.dialler.host, self.listener.host, now);
        self.dialler.connect(now);
        self.dialler.out.opens = finish.arrives;
        let departs = finish.departs;
        paths.enter(finish.arrives, self.id, Side::Dialler, What::Finish { departs });
        if self.listener.is_silent() {
            self.owe(Side::Dialler, now, paths);
        }
        Some(self.connected(Side::Dialler))
    }

    pub(super) fn finish(
        &mut self,
        departs: Instant,
        now: Instant,
        paths: &mut Paths,
    ) -> Option<Notice> {
        if self.listener.state != State::Coming {
            return None;
        }
        if self.dialler.left_before(departs) {
            self.listener.set(State::Gone, now);
            return None;
        }
        if self.severed(paths).is_some_and(|since| since < departs) {
            self.dialler.out.stuck_finish = true;
            self.owe(Side::Dialler, now, paths);
            return None;
        }
        self.listener.connect(now);
        if self.troubled {
            self.watch(Side::Listener, now, paths);
        }
        Some(self.connected(Side::Listener))
    }

    /// The dial fails; the dialler learns it then.
    fn fail(&mut self, due: Instant, paths: &mut Paths) {
        let End { host, life, .. } = self.dialler;
        paths.enter_way(due, Way::Unanswered { host, life, peer: self.call.peer });
        self.dialler.set(State::Gone, due);
        self.listener.set(State::Gone, due);
    }

    fn connected(&self, side: Side) -> Notice {
        let (host, peer) = (self.end(side).host, self.key(side.other()));
        Notice::Connected { host, link: self.id, side, peer }
    }
}

impl End {
    fn connect(&mut self, now: Instant) {
        self.set(State::Open, now);
        (self.heard, self.sent, self.owed) = (now, now, None);
    }
}

/// One dial, until it counts as failed.
const ATTEMPT_MAX: Duration = Duration::from_secs(5);
