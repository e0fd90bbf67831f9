//! Answers, told with a view to the question.

use proto::{Code, Cursor, Entry};

use super::{
    Asked, Words,
    terms::{code, list, numbered},
};
use crate::network::{HostId, LinkId};

/// A question: the connection, who asked, and by which number.
type Question = (LinkId, HostId, u32);

impl Words {
    pub(super) fn accepted(&mut self, to: Question, sequence: u64) -> String {
        let what = self.asked(to).what;
        // Only appends get an entry's number, and guests don't.
        let entry = if sequence == 0 { String::new() } else { format!(" as entry {sequence}") };
        format!("accepted{entry}: {what}")
    }

    pub(super) fn refused(&mut self, to: Question, why: Code, newer: &[u8]) -> String {
        let what = self.asked(to).what;
        let refused = format!("refused, {}: {what}", code(why));
        if newer.is_empty() {
            return refused;
        }
        let (whose, how) = self.bundle(newer);
        format!("{refused}; better is {whose}{how}")
    }

    pub(super) fn opened(&mut self, to: Question, head: Cursor, position: u64) -> String {
        let log = self.asked_log(to);
        if head == Cursor::default() {
            // A guest is shown nothing.
            return format!("opened {log}");
        }
        let copy = self.names.copy(head.incarnation);
        match head.sequence {
            0 => format!("opened {log}: {copy}, empty"),
            entry => format!("opened {log}: {copy}, up to entry {entry}, position {position}"),
        }
    }

    pub(super) fn symbols(&mut self, to: Question, size: usize) -> String {
        format!("{size} B of symbols: {}", self.asked(to).what)
    }

    pub(super) fn page(&mut self, to: Question, entries: &[Entry], more: bool) -> String {
        let asked = self.asked(to);
        let log = self.log_of(&asked, to);
        if entries.is_empty() {
            return format!("page of {log}: nothing");
        }
        let numbers: Vec<_> =
            entries.iter().filter_map(|entry| self.envelope_number(asked.handle, entry)).collect();
        let what = match numbers.as_slice() {
            [] => numbered(entries.len(), "envelope"),
            numbers => list("envelope", numbers),
        };
        let size: usize = entries.iter().map(|entry| entry.ciphertext.len()).sum();
        let more = if more { ", and there is more" } else { "" };
        format!("page of {log}: {what}, {size} B{more}")
    }

    pub(super) fn bundle_is(&mut self, to: Question, bundle: &[u8]) -> String {
        self.asked.remove(&to);
        let (whose, how) = self.bundle(bundle);
        format!("{whose}{how}")
    }

    pub(super) fn key_packages(&mut self, to: Question, packages: &[Vec<u8>], left: u32) -> String {
        let log = self.asked_log(to);
        let size: usize = packages.iter().map(Vec::len).sum();
        match packages.len() {
            // That is what their owner is told.
            0 => format!("key packages in {log}: {left} left"),
            count => format!("{} from {log}: {size} B", numbered(count, "key package")),
        }
    }

    fn asked(&mut self, question: Question) -> Asked {
        self.asked.remove(&question).unwrap_or_else(|| Asked {
            what: match question.2 {
                0 => "a frame without a number".to_owned(),
                number => format!("request {number}"),
            },
            handle: None,
        })
    }

    fn asked_log(&mut self, question: Question) -> String {
        let asked = self.asked(question);
        self.log_of(&asked, question)
    }

    fn log_of(&mut self, asked: &Asked, question: Question) -> String {
        match asked.handle {
            Some(handle) => self.names.log(handle.log),
            None => format!("what request {} was about", question.2),
        }
    }
}
