//! Incoming frames: which peer may send which, and which module handles it.

use proto::{Body, Code, Frame, Instant, NodeId, Routing, Rows};

use super::Router;

impl Router {
    pub(super) fn on_frame(&mut self, from: NodeId, frame: Frame, now: Instant, rows: &dyn Rows) {
        let Frame { request, body } = frame;
        if let Body::Routing(word) = body {
            return match self.on_word(from, request, word, now, rows) {
                Ok(()) => {}
                Err(code) => self.refuse(from, request, code),
            };
        }
        // The only other frames that concern routing: answers to `Store`.
        let answer = if let Body::Accepted { .. } = body {
            Ok(())
        } else if let Body::Refused { code, newer } = body {
            Err((code, newer))
        } else {
            return self.drop_word();
        };
        let Some((purpose, _)) = self.links.answered(&from, request, now) else {
            return self.drop_word();
        };
        self.table.answered(&from, now);
        self.stored(from, purpose, answer, now, rows);
    }

    fn on_word(
        &mut self,
        from: NodeId,
        request: u32,
        word: Routing,
        now: Instant,
        rows: &dyn Rows,
    ) -> Result<(), Code> {
        if let Routing::Introduce(record) = word {
            return self.on_introduce(from, &record, now);
        }
        let is_node = self.links.is_known(&from);
        let open_to_devices =
            matches!(word, Routing::Find { .. } | Routing::Lookup { .. } | Routing::Sample);
        if !is_node && !open_to_devices {
            return Err(Code::Forbidden);
        }
        match word {
            Routing::Gossip(word) => {
                self.gossip.word(from, word, now);
                Ok(())
            }
            Routing::Found { .. }
            | Routing::Probed(_)
            | Routing::Sampled(_)
            | Routing::LookedUp { .. }
            | Routing::RelayIs { .. } => {
                self.answer(from, request, word, now, rows);
                Ok(())
            }
            Routing::Introduce(_)
            | Routing::Find { .. }
            | Routing::Store { .. }
            | Routing::Probe { .. }
            | Routing::Sample
            | Routing::Lookup { .. }
            | Routing::AskRelay => {
                if is_node && !self.links.may_ask(&from, now) {
                    return Err(Code::Busy);
                }
                self.question(from, request, word, now, rows)
            }
        }
    }

    /// Handles a node's introduction.
    fn on_introduce(&mut self, from: NodeId, bytes: &[u8], now: Instant) -> Result<(), Code> {
        let known = self.links.record(&from).is_some_and(|known| known.as_bytes() == bytes);
        if known {
            return Ok(());
        }
        let record = self.config.verifier.record(bytes).map_err(|_| Code::Invalid)?;
        if record.node() != from || from == self.own.node() {
            return Err(Code::Forbidden);
        }
        if self.links.introduced(record.clone(), now) {
            if record.says().leaving {
                // It still answers pending requests, but gets no new ones.
                self.table.remove(&from);
                return Ok(());
            }
            let proved = self.links.is_where_it_says(&record);
            self.table.heard(&record, proved, now);
            self.gossip.connected(from, &record, now);
            self.met(&record, now);
        }
        Ok(())
    }
}
