//! What a node holds, and what crosses the network, tells neither what is said nor by whom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::{
    fs,
    net::UdpSocket,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use proto::{AccountId, EnvelopeId};
use serde_json::json;
use town::{Node, Person, acquaint};

#[test]
fn nodes_learn_neither_texts_nor_the_other_side() {
    let directory = tempfile::tempdir().unwrap();
    let adas_node = Node::start(&directory.path().join("node-ada"));
    let bens_node = Node::start(&directory.path().join("node-ben"));
    let (to_adas, to_bens) = (Tap::new(&adas_node.address), Tap::new(&bens_node.address));
    let ada = Person::with_account(&directory.path().join("ada"), "Adelheid", &to_adas.address);
    let ben = Person::with_account(&directory.path().join("ben"), "Benedikt", &to_bens.address);
    // Ben asks, so the conversation's log is at his node; Ada's request inbox is at hers.
    acquaint((&ada, "Adelheid"), (&ben, "Benedikt"));
    let texts = ["a text for two", "and an answer for two"];
    ada.say("Benedikt", texts[0]);
    ben.say("Adelheid", texts[1]);
    ada.call("conversation.rekey", json!({ "conversation": ada.account_of("Benedikt") }));
    ada.say("Benedikt", "a text under fresh keys");
    for (person, contact) in [(&ada, "Benedikt"), (&ben, "Adelheid")] {
        person.until("all three are there", |person| person.texts(contact).len() == 3);
        person.call("message.read", json!({ "conversation": person.account_of(contact) }));
        person.until("all is told", |person| person.contact(contact).unwrap()["outgoing"] == 0);
    }
    let (adas, bens) = (names_of(&ada), names_of(&ben));
    drop((ada, ben));
    adas_node.stop();
    bens_node.stop();

    let mut said: Vec<Vec<u8>> = texts.map(|text| text.as_bytes().to_vec()).to_vec();
    said.extend([b"a text under fresh keys".to_vec(), b"Adelheid".to_vec(), b"Benedikt".to_vec()]);
    for (node, own, others) in [("node-ada", &adas, &bens), ("node-ben", &bens, &adas)] {
        let held = all_files(&directory.path().join(node));
        assert!(contains(&held, &own[0]), "{node} knows its own user, so the search finds");
        for secret in said.iter().chain(others) {
            assert!(!contains(&held, secret), "{node} holds {}", String::from_utf8_lossy(secret));
        }
    }
    // On the network not even the own names are to be seen.
    for tap in [&to_adas, &to_bens] {
        let crossed = tap.crossed.lock().unwrap().clone();
        assert!(crossed.len() > 10_000, "the tap has seen the traffic");
        for secret in said.iter().chain(&adas).chain(&bens) {
            assert!(!contains(&crossed, secret), "the network shows {secret:?}");
        }
    }
}

/// What names a person: account and device keys, as bytes and as text.
fn names_of(person: &Person) -> Vec<Vec<u8>> {
    let shown = person.call("account.show", json!({}));
    let account = shown["account"].as_str().unwrap();
    let device = shown["devices"][0].as_str().unwrap();
    let raw: AccountId = account.parse().unwrap();
    // Any 32 bytes read like an envelope's id.
    let key: EnvelopeId = device.parse().unwrap();
    let text = [account.as_bytes().to_vec(), device.as_bytes().to_vec()];
    [vec![raw.0.to_vec(), key.0.to_vec()], text.to_vec()].concat()
}

fn all_files(directory: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        all.extend(if path.is_dir() { all_files(&path) } else { fs::read(&path).unwrap() });
    }
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A wire to a node that keeps all that crosses it.
struct Tap {
    /// The node's address, by way of the tap.
    address: String,
    crossed: Arc<Mutex<Vec<u8>>>,
    over: Arc<AtomicBool>,
}

impl Tap {
    fn new(address: &str) -> Self {
        let (name, target) = address.split_once('@').unwrap();
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = format!("{name}@{}", front.local_addr().unwrap());
        let (crossed, over) = (Arc::default(), Arc::default());
        let tap = Self { address, crossed, over };
        let (crossed, over, target) =
            (Arc::clone(&tap.crossed), Arc::clone(&tap.over), target.to_owned());
        thread::spawn(move || relay(&front, &target, &crossed, &over));
        tap
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Carries datagrams between a node and those who dial it, each by a socket of its own.
fn relay(front: &UdpSocket, target: &str, crossed: &Mutex<Vec<u8>>, over: &AtomicBool) {
    let mut routes: Vec<(std::net::SocketAddr, UdpSocket)> = Vec::new();
    let mut buffer = [0; 2048];
    front.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    while !over.load(Ordering::Relaxed) {
        if let Ok((length, from)) = front.recv_from(&mut buffer) {
            if !routes.iter().any(|(peer, _)| *peer == from) {
                let back = UdpSocket::bind("127.0.0.1:0").unwrap();
                back.connect(target).unwrap();
                back.set_nonblocking(true).unwrap();
                routes.push((from, back));
            }
            let (_, back) = routes.iter().find(|(peer, _)| *peer == from).unwrap();
            crossed.lock().unwrap().extend(&buffer[..length]);
            let _ = back.send(&buffer[..length]);
        }
        for (peer, back) in &routes {
            while let Ok(length) = back.recv(&mut buffer) {
                crossed.lock().unwrap().extend(&buffer[..length]);
                let _ = front.send_to(&buffer[..length], peer);
            }
        }
    }
}
