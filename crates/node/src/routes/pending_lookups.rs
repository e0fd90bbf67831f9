//! Pending look-ups: devices that wait for the bundle of an account. Devices that ask for the same
//! account share one look-up.

use std::collections::BTreeMap;

use proto::{AccountId, Code, Gauge, Peer};

use crate::session::Question;

/// Which devices wait for which account.
#[derive(Debug, Default)]
pub(super) struct PendingLookups {
    /// By account, with the number of each request.
    waiting: BTreeMap<AccountId, Vec<Question>>,
    /// How many questions each connection has.
    by_peer: BTreeMap<Peer, usize>,
}

impl PendingLookups {
    /// Adds a question. Returns whether a look-up must begin.
    pub(super) fn ask(&mut self, account: AccountId, question: Question) -> Result<bool, Code> {
        let is_new = !self.waiting.contains_key(&account);
        if self.by_peer.get(&question.peer).is_some_and(|count| *count >= OF_PEER_MAX)
            || self.len() >= QUESTIONS_MAX
            || (is_new && self.waiting.len() >= ACCOUNTS_MAX)
        {
            return Err(Code::Busy);
        }
        let count = self.by_peer.entry(question.peer).or_default();
        *count = count.saturating_add(1);
        self.waiting.entry(account).or_default().push(question);
        Ok(is_new)
    }

    /// Takes the questions about an account.
    pub(super) fn answered(&mut self, account: &AccountId) -> Vec<Question> {
        let waiting = self.waiting.remove(account).unwrap_or_default();
        for Question { peer, .. } in &waiting {
            if let Some(count) = self.by_peer.get_mut(peer) {
                *count = count.saturating_sub(1);
            }
        }
        self.by_peer.retain(|_, count| *count > 0);
        waiting
    }

    /// Drops the questions of a connection that is gone. The look-up continues.
    pub(super) fn disconnected(&mut self, peer: Peer) {
        if self.by_peer.remove(&peer).is_some() {
            for waiting in self.waiting.values_mut() {
                waiting.retain(|question| question.peer != peer);
            }
        }
    }

    pub(super) fn gauges(&self) -> [Gauge; 3] {
        let most = self.by_peer.values().copied().max().unwrap_or(0);
        [
            Gauge::new("accounts asked for", self.waiting.len(), ACCOUNTS_MAX),
            Gauge::new("bundles asked for", self.len(), QUESTIONS_MAX),
            Gauge::new("bundles a connection asks for", most, OF_PEER_MAX),
        ]
    }

    fn len(&self) -> usize {
        self.by_peer.values().sum()
    }
}

/// PendingLookups of one connection: a device that adds contacts asks for one after the other.
const OF_PEER_MAX: usize = 8;
/// PendingLookups of all connections.
const QUESTIONS_MAX: usize = 256;
/// Look-ups for them: a quarter of those that the router makes at the same time.
const ACCOUNTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proto::PublicKey;

    use super::*;

    fn question(peer: Peer, request: u32) -> Question {
        Question { peer, request }
    }

    #[test]
    fn questions_are_shared_and_bounded() {
        let mut lookups = PendingLookups::default();
        let (account, peer) = (AccountId([1; 32]), |number| PublicKey([number; 32]));
        assert_eq!(lookups.ask(account, question(peer(1), 1)), Ok(true));
        assert_eq!(
            lookups.ask(account, question(peer(2), 1)),
            Ok(false),
            "the lookup is under way"
        );
        lookups.disconnected(peer(1));
        assert_eq!(lookups.answered(&account), [question(peer(2), 1)]);
        assert_eq!(lookups.ask(account, question(peer(2), 2)), Ok(true));
        for request in 3..=9 {
            assert_eq!(lookups.ask(account, question(peer(2), request)), Ok(false));
        }
        assert_eq!(lookups.ask(account, question(peer(2), 10)), Err(Code::Busy));
        for number in 2..=16 {
            assert_eq!(
                lookups.ask(AccountId([number; 32]), question(peer(100 + number), 1)),
                Ok(true)
            );
        }
        assert_eq!(lookups.ask(AccountId([17; 32]), question(peer(3), 1)), Err(Code::Busy));
        assert_eq!(
            lookups.ask(account, question(peer(3), 1)),
            Ok(false),
            "what is looked up anyway"
        );
    }
}
