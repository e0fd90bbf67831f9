//! Answers of the other node.

use proto::{Body, Code, Cursor, Frame, Instant, Peer, Transaction};

use super::{
    Answered, Around, PAUSE_MAX, PAUSE_MIN, ReplicationPeer, Request, Timer, head_of,
    is_about_the_entry,
};
use crate::{
    log::EntryAt,
    placement,
    replica::{
        deferred_push::DeferredPushes,
        push::{Push, State},
        rows,
    },
};

impl ReplicationPeer {
    /// Takes an answer.
    pub(in crate::replica) fn on_answer(
        &mut self,
        Frame { request, body }: &Frame,
        around: Around<'_, '_>,
        now: Instant,
    ) -> Answered {
        let Some(asked) = self.requests.remove(request) else { return Answered::Unasked };
        self.used = now;
        let refused = if let Body::Refused { code, .. } = body { Some(*code) } else { None };
        match asked {
            Request::Open(number) => {
                self.opening = self.opening.saturating_sub(1);
                let is_current = self.pushes.get(&number).is_some_and(|p| p.channel == *request);
                if is_current {
                    self.on_open_answer(number, body, around, now);
                }
                let has_none = matches!(refused, Some(Code::NotFound | Code::Forbidden));
                if has_none && is_current { Answered::NoCopy(number) } else { Answered::Fine }
            }
            Request::Recruit(account) => {
                self.opening = self.opening.saturating_sub(1);
                if refused.is_some() { Answered::Unwilling(account) } else { Answered::Fine }
            }
            Request::PassRecord(record) => {
                self.is_passing_record = false;
                Answered::PassedRecord(record)
            }
            Request::Append { at: EntryAt { log: number, sequence }, channel, bytes } => {
                self.entries = self.entries.saturating_sub(1);
                self.bytes = self.bytes.saturating_sub(bytes);
                let push = self.pushes.get_mut(&number).filter(|push| push.channel == channel);
                let Some(push) = push else { return Answered::Fine };
                push.answered(sequence, refused.is_some());
                if refused.is_some_and(|code| !is_about_the_entry(code)) {
                    self.back_off(number, now);
                    return Answered::Fine;
                }
                if std::mem::take(&mut push.tries) > 0 {
                    // It takes entries again: the next ones may follow.
                    self.behind.insert(number);
                }
                self.check_drained(&around.peer, number, around.deferred, around.tx);
                if refused.is_some() { Answered::Refused } else { Answered::Stored }
            }
        }
    }

    fn on_open_answer(&mut self, number: u64, body: &Body, around: Around<'_, '_>, now: Instant) {
        if let Body::Opened { head, .. } = body {
            self.opened(number, *head, around);
        } else if let Body::Refused { code, .. } = body {
            self.open_refused(number, *code, around, now);
        } else {
            self.back_off(number, now);
        }
    }

    /// The other node's copy is open up to the cursor `got`.
    fn opened(&mut self, number: u64, got: Cursor, around: Around<'_, '_>) {
        let Around { peer, tx, logs, deferred } = around;
        let Some((_, head)) = head_of(number, logs, tx) else { return };
        let Some(push) = self.pushes.get_mut(&number) else { return };
        let fits = got.incarnation == head.incarnation && got.sequence <= head.sequence;
        push.state = State::Open;
        push.next = if fits { got.sequence } else { 0 }.saturating_add(1);
        self.behind.insert(number);
        if push.next > head.sequence {
            self.behind.remove(&number);
            self.check_drained(&peer, number, deferred, tx);
        }
    }

    /// The other node has refused to open its copy. If it has none, or does not know that this node
    /// holds the log, it will call when that changes: a node that creates a copy, or gets a new
    /// ranking, opens the log at all other nodes.
    fn open_refused(&mut self, number: u64, code: Code, around: Around<'_, '_>, now: Instant) {
        let Around { peer, tx, .. } = around;
        if !matches!(code, Code::NotFound | Code::Forbidden) {
            return self.back_off(number, now);
        }
        let push = self.pushes.remove(&number);
        if matches!(push, Some(Push { state: State::Asked { called: true }, .. })) {
            self.unseen = Some(0);
            return;
        }
        placement::put_received(tx, &peer, number, Cursor::default());
        rows::unmark(tx, &peer, number);
    }

    /// Tries a log again later. The other node has closed it, if it was open.
    fn back_off(&mut self, number: u64, now: Instant) {
        let Some(push) = self.pushes.get_mut(&number) else { return };
        let pause = PAUSE_MIN.saturating_mul(1_u32.checked_shl(push.tries).unwrap_or(u32::MAX));
        let due = now.after(pause.min(PAUSE_MAX));
        push.tries = push.tries.saturating_add(1);
        push.state = State::Paused(due);
        // Answers to entries on their way on this channel are dropped.
        push.channel = 0;
        push.unanswered.clear();
        self.behind.remove(&number);
        self.timers.insert((due, Timer::Log(number)));
    }

    /// Unmarks a log if the other node has all of it.
    pub(in crate::replica) fn check_drained(
        &mut self,
        peer: &Peer,
        number: u64,
        deferred: &DeferredPushes,
        tx: &mut Transaction<'_>,
    ) {
        if self.behind.contains(&number) {
            return;
        }
        if let Some(push) = self.pushes.get_mut(&number)
            && push.is_open()
            && push.unanswered.is_empty()
            && deferred.first(number, peer).is_none()
            && std::mem::take(&mut push.marked)
        {
            rows::unmark(tx, peer, number);
        }
    }
}
