//! The text of a value as `Debug` derives it, shortened: names for ids, sizes for bytes, and
//! nothing of what is absent.

use super::names::Names;

/// Shortens `text`, which `Debug` has written; `log` is the name of the log that channels in it
/// stand for.
pub(super) fn shorten(text: &str, log: Option<&str>, names: &mut Names) -> String {
    Reader { rest: text, log, names }.value()
}

/// Reads one value after the other.
struct Reader<'a> {
    rest: &'a str,
    log: Option<&'a str>,
    names: &'a mut Names,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> String {
        let word = self.word();
        match self.rest.chars().next() {
            Some('{') => self.fields(word),
            Some('(') => self.tuple(word),
            Some('[') => self.list(),
            _ => word.to_owned(),
        }
    }

    /// Takes all up to the next punctuation.
    fn word(&mut self) -> &'a str {
        let end = self.rest.find(['{', '}', '(', ')', '[', ']', ',']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.trim()
    }

    /// Takes what is between an opening bracket and its closing one, item by item.
    fn items(&mut self, mut item: impl FnMut(&mut Self)) {
        self.skip(1);
        while !self.rest.is_empty() && !self.rest.starts_with(['}', ')', ']']) {
            let before = self.rest.len();
            item(self);
            if self.rest.starts_with(',') {
                self.skip(1);
            }
            self.rest = self.rest.trim_start();
            if self.rest.len() == before {
                return;
            }
        }
        self.skip(1);
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn fields(&mut self, name: &str) -> String {
        let mut fields = Vec::new();
        self.items(|reader| {
            let Some((field, rest)) = reader.rest.split_once(':') else {
                reader.rest = "";
                return;
            };
            reader.rest = rest.trim_start();
            let value = reader.value();
            fields.extend(reader.field(field.trim(), value));
        });
        if fields.is_empty() {
            name.to_owned()
        } else {
            format!("{name} {{ {} }}", fields.join(", "))
        }
    }

    /// A field as it is shown, if it says anything.
    fn field(&mut self, name: &str, value: String) -> Option<String> {
        let is_absent =
            matches!(value.as_str(), "None" | "false" | "[]" | "0" | "Never" | "Extension([])");
        match name {
            "channel" if value == "0" => None,
            "channel" => Some(
                self.log.map_or_else(|| format!("channel: {value}"), |log| format!("log: {log}")),
            ),
            "kind" if value == "Entry" => None,
            "proof" | "signature" | "nonce" | "ack" => None,
            "incarnation" if value != "0" => Some(self.names.copy(&value)),
            _ if is_absent => None,
            _ => Some(format!("{name}: {value}")),
        }
    }

    fn tuple(&mut self, name: &str) -> String {
        let mut values = Vec::new();
        self.items(|reader| values.push(reader.value()));
        let inner = values.join(", ");
        if let Some(id) = inner.strip_suffix('…') {
            return self.names.id(name, id);
        }
        // `Some(x)`, and a variant called like what it holds.
        let is_plain =
            name == "Some" || inner.strip_prefix(name).is_some_and(|rest| rest.starts_with(' '));
        if is_plain { inner } else { format!("{name}({inner})") }
    }

    fn list(&mut self) -> String {
        let mut values = Vec::new();
        self.items(|reader| values.push(reader.value()));
        let are_bytes = values.iter().all(|value| value.parse::<u8>().is_ok());
        let count = values.len();
        if are_bytes && count > 0 {
            return format!("{count} B");
        }
        let more = count.saturating_sub(LISTED_MAX);
        values.truncate(LISTED_MAX);
        if more > 0 {
            values.push(format!("{more} more"));
        }
        format!("[{}]", values.join(", "))
    }
}

/// Items of a list that are shown.
const LISTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proto::{
        AccountId, Body, Code, Cursor, EnvelopeId, LogId, NodeAck, NodeAddress, NodeId, Ranking,
        Reference,
    };

    use super::*;

    #[test]
    fn ids_have_names_and_bytes_a_size() {
        let mut names = Names::default();
        names.name_account(AccountId([7; 32]), "ada");
        let mut short = |body: &Body| shorten(&format!("{body:?}"), None, &mut names);
        assert_eq!(short(&Body::GetBundle(AccountId([7; 32]))), "GetBundle(ada)");
        assert_eq!(short(&Body::PutBundle(vec![1; 300])), "PutBundle(300 B)");
        assert_eq!(short(&Body::Lost { signature: [0; 64] }), "Lost");
        let reference = EnvelopeId([3; 32]).reference();
        let lacking = Body::Lacking { log: LogId([5; 32]), references: vec![reference; 10] };
        let eight = ["envelope 1"; 8].join(", ");
        assert_eq!(
            short(&lacking),
            format!("Lacking {{ log: log 1, references: [{eight}, 2 more] }}")
        );
    }

    #[test]
    fn what_is_absent_is_not_shown() {
        let mut names = Names::default();
        let refused = Body::Refused { code: Code::Busy, newer: Vec::new() };
        assert_eq!(shorten(&format!("{refused:?}"), None, &mut names), "Refused { code: Busy }");
        let ack = NodeAck { incarnation: 7, signature: [1; 64] };
        let acked = Body::NodeAck { channel: 0, reference: Reference([1; 16]), node: None, ack };
        let shown = shorten(&format!("{acked:?}"), None, &mut Names::default());
        assert_eq!(shown, "NodeAck { reference: envelope 1 }", "without its signature");
        let opened = |incarnation, sequence| {
            let head = Cursor { incarnation, sequence };
            format!("{:?}", Body::Opened { head, position: sequence })
        };
        assert_eq!(shorten(&opened(0, 0), None, &mut names), "Opened { head: Cursor }");
        assert_eq!(
            shorten(&opened(77, 3), None, &mut names),
            "Opened { head: Cursor { copy 1, sequence: 3 }, position: 3 }"
        );
    }

    #[test]
    fn a_channel_stands_for_its_log() {
        let close = format!("{:?}", Body::Close { channel: 4 });
        let mut names = Names::default();
        assert_eq!(shorten(&close, Some("ada & ben"), &mut names), "Close { log: ada & ben }");
        assert_eq!(shorten(&close, None, &mut names), "Close { channel: 4 }");
    }

    #[test]
    fn addresses_and_whatever_else_there_is_come_through() {
        let node = NodeId([9; 32]);
        let addresses = vec!["127.0.0.1:4440".parse().unwrap(), "[::1]:4440".parse().unwrap()];
        let nodes = vec![NodeAddress { node, addresses }];
        let ranking = Ranking { version: 2, nodes, reserve: Vec::new() };
        let mut names = Names::default();
        let text = shorten(&format!("{ranking:?}"), None, &mut names);
        assert!(text.contains("node: node id 1") && text.contains("127.0.0.1:4440"), "{text}");
        for odd in ["", "}", "a { b", "(((", "a(b]", "x: , ,", "…", "Id(…)", "[1, 2"] {
            shorten(odd, None, &mut names);
        }
    }
}
