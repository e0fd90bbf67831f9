//! The daemon's socket, spoken to by hand.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use serde_json::{Value, json};

use crate::people::Person;

struct Socket {
    reader: BufReader<UnixStream>,
}

impl Socket {
    fn open(person: &Person) -> Self {
        let stream = UnixStream::connect(person.home().join("siskin.sock")).unwrap();
        Self { reader: BufReader::new(stream) }
    }

    fn say(&mut self, line: &str) -> Value {
        let stream = self.reader.get_mut();
        stream.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.hear()
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        // A connection that is cut off may end with a reset.
        let _ = self.reader.read_line(&mut line);
        serde_json::from_str(&line).unwrap_or_default()
    }
}

#[test]
fn the_api_speaks_json_rpc() {
    let person = Person::new();
    let _daemon = person.up();
    let mut socket = Socket::open(&person);
    let status = socket.say(r#"{"jsonrpc":"2.0","id":"a","method":"status"}"#);
    assert_eq!((&status["id"], &status["jsonrpc"]), (&json!("a"), &json!("2.0")));
    assert_eq!(status["result"]["account"], Value::Null);
    let code = |answer: Value| answer["error"]["code"].as_i64();
    for (line, wanted) in [
        ("nonsense", -32700),
        ("[]", -32600),
        (r#"{"id":1,"method":"status"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"account.sell"}"#, -32601),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"message.send","params":{"conversation":"x"}}"#,
            -32602,
        ),
        (r#"["2.0",1,"status",{}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"contact.list","params":{"x":1}}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"contact.rename","params":["x","y"]}"#, -32602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"account.show"}"#, 1),
    ] {
        assert_eq!(code(socket.say(line)), Some(wanted), "{line}");
    }
    let failed = socket.say(r#"{"jsonrpc":"2.0","id":1,"method":"account.show"}"#);
    assert_eq!(failed["error"]["data"]["kind"], "user");
    assert!(failed["error"]["data"]["hint"].is_string());
}

#[test]
fn a_request_without_end_is_cut_off_and_others_go_on() {
    let person = Person::new();
    let _daemon = person.up();
    let mut endless = Socket::open(&person);
    let chunk = vec![b' '; 64 * 1024];
    // The daemon hangs up before it has taken all of it.
    let cut = (0..1000).any(|_| endless.reader.get_mut().write_all(&chunk).is_err());
    assert!(cut, "64 MB were taken");
    assert!(person.json(&["contact", "list"]).is_array());
}

#[test]
fn a_subscriber_hears_and_is_asked_nothing_more() {
    let person = Person::new();
    let _daemon = person.up();
    let mut subscriber = Socket::open(&person);
    let subscribe = r#"{"jsonrpc":"2.0","id":7,"method":"events.subscribe","params":{}}"#;
    assert_eq!(subscriber.say(subscribe)["result"], json!({"after": {}}));
    let mut other = Socket::open(&person);
    let node = format!("{}@127.0.0.1:9", proto::NodeId([9; 32]));
    let create = json!({"jsonrpc": "2.0", "id": 1, "method": "account.create",
        "params": {"nodes": [node]}});
    assert!(other.say(&create.to_string())["result"]["phrase"].is_string());
    let event = subscriber.hear();
    assert_eq!((&event["method"], &event["params"]["type"]), (&json!("event"), &json!("account")));
    let cut = subscriber.say(subscribe);
    assert_eq!(cut, Value::Null, "a subscriber that asks is cut off");
}

#[test]
fn connections_are_bounded() {
    let person = Person::new();
    let _daemon = person.up();
    let status = r#"{"jsonrpc":"2.0","id":1,"method":"status"}"#;
    let mut sockets: Vec<Socket> = (0..64).map(|_| Socket::open(&person)).collect();
    for socket in &mut sockets {
        assert!(socket.say(status)["result"].is_object());
    }
    let mut late = Socket::open(&person);
    let _ = late.reader.get_mut().write_all(b"\n");
    assert_eq!(late.hear(), Value::Null, "one too many is turned away");
    drop(sockets);
    person.until(&["contact", "list"], Value::is_array);
}
