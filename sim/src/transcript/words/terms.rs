//! Phrases for parts of frames that need no memory.

use proto::{Code, Cursor, Entry, EnvelopeId, Expiry, Hello, Kind, Read, Routing};

/// Why, as `spec/frames.md` section 10 calls it.
pub(super) fn code(code: Code) -> &'static str {
    match code {
        Code::Done => "done",
        Code::UnknownFrame => "unknown frame",
        Code::Malformed => "malformed",
        Code::Version => "version",
        Code::Unexpected => "unexpected",
        Code::Forbidden => "forbidden",
        Code::NotFound => "not found",
        Code::BadSignature => "bad signature",
        Code::Position => "position",
        Code::Quota => "quota",
        Code::Full => "full",
        Code::Busy => "busy",
        Code::Stale => "stale",
        Code::Invalid => "invalid",
        Code::Closed => "closed",
        Code::Replaced => "replaced",
    }
}

pub(super) fn hello(hello: &Hello) -> String {
    match hello.versions {
        (only, newest) if only == newest => format!("hello: version {only}"),
        (oldest, newest) => format!("hello: versions {oldest} to {newest}"),
    }
}

/// What an opener wants to be delivered.
pub(super) fn tail(cursor: Cursor, copy: impl FnOnce(u64) -> String) -> String {
    match cursor.sequence {
        0 => ", following from the beginning".to_owned(),
        entry => format!(", following after entry {entry} of {}", copy(cursor.incarnation)),
    }
}

/// Which key an entry announces and how long it is kept, if that is out of the ordinary.
pub(super) fn entry_kept(entry: &Entry, announced: Option<&str>) -> String {
    let change = match (entry.kind, announced) {
        (Kind::Entry, None) => String::new(),
        (Kind::Entry, Some(key)) => format!(", naming {key}"),
        (Kind::KeyChange, None) => ", changing to no key".to_owned(),
        (Kind::KeyChange, Some(key)) => format!(", changing to {key}"),
    };
    let kept = match entry.expiry {
        Expiry::Never => "",
        Expiry::Year => ", kept for a year",
        Expiry::Month => ", kept for a month",
        Expiry::Day => ", kept for a day",
    };
    change + kept
}

/// Where a reader starts and which way it goes.
pub(super) fn from_place(read: &Read, number: impl FnOnce(EnvelopeId) -> u64) -> String {
    let way = if read.backward { "backward" } else { "forward" };
    match read.from {
        (0, EnvelopeId(id)) if id == [0; 32] => format!("{way} from the beginning"),
        (u64::MAX, EnvelopeId(id)) if id == [0xFF; 32] => format!("{way} from the end"),
        (position, id) => format!("{way} from envelope {} at position {position}", number(id)),
    }
}

/// What a word of routing is about.
pub(super) fn routing(word: &Routing) -> &'static str {
    match word {
        Routing::Introduce(_) => "introduces itself",
        Routing::Find { record: false, .. } => "find nodes",
        Routing::Find { record: true, .. } => "find a record",
        Routing::Found { record: None, .. } => "found nodes",
        Routing::Found { record: Some(_), .. } => "found the record",
        Routing::Store { .. } => "store a record",
        Routing::Probe { .. } => "probe a node",
        Routing::Probed(_) => "probed it",
        Routing::Sample => "sample nodes",
        Routing::Sampled(_) => "sampled nodes",
        Routing::Lookup { .. } => "look something up",
        Routing::LookedUp { .. } => "looked it up",
        Routing::AskRelay => "ask for a relay",
        Routing::RelayIs { .. } => "a relay is there",
        Routing::Gossip(_) => "gossip",
    }
}

/// So many of these.
pub(super) fn numbered(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// These, by their numbers; of many the first few.
pub(super) fn list(noun: &str, numbers: &[u64]) -> String {
    let ending = if numbers.len() == 1 { "" } else { "s" };
    let shown: Vec<_> = numbers.iter().take(LISTED_MAX).map(u64::to_string).collect();
    let rest = match numbers.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    format!("{noun}{ending} {}{rest}", shown.join(", "))
}

const LISTED_MAX: usize = 8;

#[test]
fn long_lists_are_cut() {
    assert_eq!(list("envelope", &[4]), "envelope 4");
    assert_eq!(list("envelope", &[4, 9]), "envelopes 4, 9");
    let many: Vec<u64> = (1..=256).collect();
    assert_eq!(list("envelope", &many), "envelopes 1, 2, 3, 4, 5, 6, 7, 8 and 248 more");
    assert_eq!((numbered(1, "home"), numbered(0, "home")), ("1 home".into(), "0 homes".into()));
}
