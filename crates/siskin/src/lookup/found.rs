//! Records that were verified.

use crypto::{identity::Bundle, node::NodeRecord};
use proto::{Record, limits};

use crate::{
    cli::Sought,
    failure::{Failure, Kind},
};

/// A record that was found and verified.
pub(super) enum Found {
    Account(Box<Bundle>),
    Node(Box<NodeRecord>),
}

/// Verifies a record, which must be the one that was asked for.
pub(super) fn verify(record: &Record, what: Sought) -> Result<Found, Failure> {
    let forged = || {
        Failure::new(Kind::Untrusted, "the node answers with a record that does not verify")
            .hint("ask another node with --node ADDRESS")
    };
    match (record, what) {
        (Record::Account(bytes), Sought::Account(account)) => {
            let bundle = Bundle::verify(bytes).map_err(|_| forged())?;
            let is_it = bundle.account() == account;
            is_it.then(|| Found::Account(Box::new(bundle))).ok_or_else(forged)
        }
        (Record::Node(bytes), Sought::Node(node)) => {
            let record = NodeRecord::verify(bytes, limits::NODE_WORK_BITS).map_err(|_| forged())?;
            let is_it = record.node() == node;
            is_it.then(|| Found::Node(Box::new(record))).ok_or_else(forged)
        }
        (Record::Account(_) | Record::Node(_), _) => Err(forged()),
    }
}
