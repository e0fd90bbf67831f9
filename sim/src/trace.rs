//! The trace of a run: all that happens goes into a hash, by which two runs are compared, and, if
//! asked for, into a transcript.
//!
//! **The hash is the same with and without a transcript.** Without one nothing but the hash costs
//! anything.

use proto::{AccountId, Instant, LogId};
use sha2::{Digest, Sha256};

use crate::network::HostId;
pub(crate) use transcript::Way;

use transcript::Transcript;

mod names;
#[cfg(test)]
mod tests;
mod transcript;
mod words;

/// What happens, as it happens: hashed always, written down if asked for.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: Sha256,
    transcript: Option<Transcript>,
}

impl Trace {
    /// Begins a trace; `beginning` is the time that the transcript counts from.
    pub(crate) fn new(write: bool, beginning: Instant) -> Self {
        Self { hash: Sha256::new(), transcript: write.then(|| Transcript::new(beginning)) }
    }

    // Names: they change the whole transcript, what is written already included, and never the
    // hash.

    /// What a party is called: "node 0", "ada". Unnamed it is "host 3".
    pub(crate) fn name_host(&mut self, host: HostId, name: &str) {
        if let Some(transcript) = &mut self.transcript {
            transcript.names.name_host(host, name);
        }
    }

    /// Whose account it is: "ada". Its inbox and devices are called after it.
    pub(crate) fn name_account(&mut self, account: AccountId, name: &str) {
        if let Some(transcript) = &mut self.transcript {
            transcript.names.name_account(account, name);
        }
    }

    /// What a log is called: "ada & ben". Unnamed ones are "log 1", "log 2" as they appear.
    pub(crate) fn name_log(&mut self, log: LogId, name: &str) {
        if let Some(transcript) = &mut self.transcript {
            transcript.names.name_id(&log, name);
        }
    }

    // What happens.

    /// A frame leaves, as `proto::write_frame` wrote it.
    pub(crate) fn frame(&mut self, now: Instant, way: Way, bytes: &[u8]) {
        self.hash_frame(now, way, bytes);
        if let Some(transcript) = &mut self.transcript {
            transcript.frame(now, way, bytes);
        }
    }

    /// Something else happens: `what`, to whom and to what extent (`numbers`) is hashed; `text`
    /// tells the same in words.
    pub(crate) fn note(
        &mut self,
        now: Instant,
        what: &'static str,
        numbers: &[u64],
        text: impl FnOnce() -> String,
    ) {
        self.hash.update([NOTED]);
        self.hash.update(now.as_micros().to_le_bytes());
        self.hash.update((what.len() as u64).to_le_bytes());
        self.hash.update(what);
        self.hash.update((numbers.len() as u64).to_le_bytes());
        for number in numbers {
            self.hash.update(number.to_le_bytes());
        }
        if let Some(transcript) = &mut self.transcript {
            transcript.note(now, &text());
        }
    }

    // What became of it.

    /// The hash of all that has happened so far, in order.
    pub(crate) fn hash(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// The transcript, line by line; empty if none was asked for.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.transcript.map(Transcript::into_lines).unwrap_or_default()
    }

    fn hash_frame(&mut self, now: Instant, way: Way, bytes: &[u8]) {
        self.hash.update([LEAVES]);
        self.hash.update(now.as_micros().to_le_bytes());
        self.hash.update(way.link.0.to_le_bytes());
        self.hash.update(way.from.0.to_le_bytes());
        self.hash.update(way.to.0.to_le_bytes());
        self.hash.update((bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

// What is hashed first of whatever happens, so that nothing hashes like something else.
const LEAVES: u8 = 0;
const NOTED: u8 = 1;
