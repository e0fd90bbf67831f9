//! A node is backed up while people write, is lost, and is restored. What was written after the
//! backup comes back from the devices.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may stop on the first thing that is not as it should be"
)]

mod town;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use town::{Node, Person, acquaint};

#[test]
fn a_node_that_is_lost_comes_back_from_its_backup_and_nothing_is_lost() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let mut node = Node::start(&at("node"));
    let mut ada = Person::with_account(&at("ada"), "Ada", &node.address);
    let mut ben = Person::with_account(&at("ben"), "Ben", &node.address);
    acquaint((&ada, "Ada"), (&ben, "Ben"));
    let mut sent = Vec::new();
    let say = |ada: &Person, from: usize, to: usize, sent: &mut Vec<String>| {
        for text in (from..to).map(|i| format!("message {i}")) {
            ada.say("Ben", &text);
            sent.push(text);
        }
    };
    say(&ada, 0, 100, &mut sent);
    let backup = at("backup");
    std::thread::scope(|scope| {
        // Ben's device answers meanwhile.
        scope.spawn(|| {
            let done = done(&["node", "backup", "--json"], &backup, &at("node"));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        });
        say(&ada, 100, 200, &mut sent);
    });
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    ben.go_offline();
    say(&ada, 200, 300, &mut sent);
    ada.until("the node has everything", |ada| ada.contact("Ben").unwrap()["outgoing"] == 0);
    ada.go_offline();
    node.kill();
    fs::remove_dir_all(at("node")).unwrap();

    let restored = done(&["node", "restore", "--json"], &backup, &at("restored"));
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    node.directory = at("restored");
    node.restart();
    ben.come_online();
    ada.come_online();
    ben.until("all have arrived", |ben| ben.texts("Ada").len() == 300);
    assert_eq!(ben.texts("Ada"), sent, "once each, in order");
    ben.say("Ada", "thanks");
    ada.until("the answer has arrived", |ada| {
        ada.texts("Ben").last().is_some_and(|text| text == "thanks")
    });
    node.stop();
    let verified = siskin(&["node", "verify", "--data-dir"], &at("restored"));
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[test]
fn what_is_no_backup_makes_no_node_and_what_is_there_stays() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    Node::start(&at("node")).stop();
    let absent = done(&["node", "backup"], &at("nothing"), &at("nowhere"));
    assert!(!absent.status.success() && !at("nothing").exists());
    // A node that does not run is backed up as well.
    assert!(done(&["node", "backup"], &at("backup"), &at("node")).status.success());
    let again = done(&["node", "backup"], &at("backup"), &at("node"));
    assert!(String::from_utf8_lossy(&again.stderr).contains("already exists"));

    let whole = fs::read(at("backup")).unwrap();
    let mut wrong = vec![Vec::new(), b"no backup".to_vec(), [&whole[..], b"more"].concat()];
    wrong.extend((1..8).map(|part| whole.get(..whole.len() * part / 8).unwrap().to_vec()));
    wrong.extend((0..64).map(|part| {
        let mut bytes = whole.clone();
        let place = bytes.len() * part / 64;
        bytes[place] ^= 4;
        bytes
    }));
    for bytes in wrong {
        fs::write(at("wrong"), bytes).unwrap();
        let refused = done(&["node", "restore"], &at("wrong"), &at("new"));
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(!at("new").exists() && !at("new.restoring").exists());
    }
    // Where a backup can't be written nothing is left behind.
    fs::create_dir(at("taken.part")).unwrap();
    assert!(!done(&["node", "backup"], &at("taken"), &at("node")).status.success());
    assert!(!done(&["node", "backup"], &at("no/where"), &at("node")).status.success());
    assert!(!at("taken").exists() && !at("no").exists());
    let occupied = done(&["node", "restore"], &at("backup"), &at("node"));
    assert!(String::from_utf8_lossy(&occupied.stderr).contains("not empty"));
    assert!(done(&["node", "restore"], &at("backup"), &at("new/")).status.success());
    let key = |directory: &str| fs::read(at(directory).join("node.key")).unwrap();
    assert_eq!(key("new"), key("node"));
}

fn done(words: &[&str], file: &Path, directory: &Path) -> Output {
    let mut command = command(words);
    command.arg(file).arg("--data-dir").arg(directory).output().unwrap()
}

fn siskin(words: &[&str], directory: &Path) -> Output {
    command(words).arg(directory).output().unwrap()
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    command.args(words);
    command
}
