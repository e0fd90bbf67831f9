//! Home nodes of an account: more than two copies, and a node that is shut down permanently.

use std::fs;

use crypto::{
    SigningKey,
    node::{LossProof, sign_ack, sign_lost},
};
use proto::{Envelope, Expiry, Extension, Head, Kind, LogId, NodeId, PublicKey};
use serde_json::Value;

use crate::people::{Person, Running, siskin, status_until, stderr, stdout};

#[test]
fn a_third_home_holds_all_and_a_node_is_drained_before_it_ends() {
    let place = tempfile::tempdir().unwrap();
    let at = |number: usize| place.path().join(number.to_string());
    let mut nodes = vec![Running::joined(&at(0), &[])];
    for number in 1..5 {
        let first = nodes[0].address().to_owned();
        nodes.push(Running::joined(&at(number), &[&first]));
    }
    let create = |name: &str, homes: &[usize]| {
        let person = Person::new();
        let mut arguments = vec!["account", "create", "--name", name];
        homes.iter().for_each(|home| arguments.extend(["--node", nodes[*home].address()]));
        person.json(&arguments);
        person
    };
    let (ada, ben) = (create("Ada", &[0, 1, 2]), create("Ben", &[3, 4]));
    let invited = ada.json(&["contact", "invite"]);
    ben.json(&["contact", "add", invited["link"].as_str().unwrap(), "--name", "Ada"]);
    ada.json(&["contact", "accept", "Ben"]);

    let homes = ada.json(&["home", "copies", "3"]);
    assert_eq!((&homes["copies"], &homes["acks"]), (&3.into(), &3.into()));
    // Ada's inbox and the conversation.
    status_until(&at(2), |status| status["logs"] == 2 && status["accounts"] == 1);
    for home in [0, 1] {
        status_until(&at(home), |status| status["copies_lacking"] == 0);
    }
    let daemon = ada.up();
    ada.json(&["send", "Ben", "on five nodes"]);
    let read = ada.until(&["read", "Ben", "-n", "1"], |items| {
        items[0]["stored_on"].as_array().is_some_and(|nodes| nodes.len() == 5)
    });
    assert_eq!(read[0]["status"], "stored");
    assert!(ada.text(&["read", "Ben", "-n", "1"]).contains("stored on 5"));
    drop(daemon);

    let drained = siskin(&["node", "drain", "--json", "--data-dir"]).arg(at(0)).output().unwrap();
    assert!(drained.status.success(), "{}", stderr(&drained));
    let drained: Value = serde_json::from_slice(&drained.stdout).unwrap();
    assert_eq!(drained, serde_json::json!({ "safe": 2, "left": 0, "stuck": 0 }));
    assert!(nodes.remove(0).terminate().success());
    let received = ben.json(&["read", "Ada", "-n", "1"]);
    assert_eq!(received[0]["text"], "on five nodes");
}

#[test]
fn a_proof_that_a_node_has_lost_an_entry_can_be_checked_by_others() {
    let key = SigningKey::from_seed([1; 32]);
    let node = NodeId(key.public().0);
    let head = Head {
        kind: Kind::Entry,
        expiry: Expiry::Never,
        position: 1,
        log: LogId([2; 32]),
        write_key: PublicKey([3; 32]),
        extension: Extension::default(),
    };
    let envelope = Envelope { head, ciphertext: b"lost".to_vec(), signature: [4; 64] };
    let (log, id) = (envelope.head.log, envelope.id());
    let ack = sign_ack(&key, &log, &id, 7);
    let lost = sign_lost(&key, &log, &id, &ack);
    let proof = LossProof { node, envelope, ack, lost }.encode();
    let place = tempfile::tempdir().unwrap();
    let (good, bad) = (place.path().join("good"), place.path().join("bad"));
    fs::write(&good, &proof).unwrap();
    fs::write(&bad, &proof[1..]).unwrap();

    let checked = siskin(&["home", "check", "--json"]).arg(&good).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(
        (&checked["node"], &checked["entry"]),
        (&node.to_string().into(), &id.to_string().into())
    );
    let checked = siskin(&["home", "check"]).arg(&bad).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(stderr(&checked).contains("not a valid proof"), "{}", stderr(&checked));

    let running = Running::node(&place.path().join("node"));
    let ada = Person::with_account("Ada", running.address());
    assert_eq!(ada.json(&["home", "proofs"]), serde_json::json!([]));
    let said = ada.run(&["home", "proofs"]);
    assert!(stdout(&said).contains("no proofs"), "{}", stdout(&said));
    assert_eq!(ada.json(&["home", "list"])["homes"][0]["proven_faulty"], false);
}
