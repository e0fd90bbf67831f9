//! Accounts: made, shown, brought back, locked out; keys and files.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::people::{Person, Running, assert_fails, siskin, status_until, stderr, stdout};

#[test]
fn an_account_comes_back_from_its_words_and_its_old_device_is_locked_out() {
    let place = tempfile::tempdir().unwrap();
    let node = Running::node(place.path());
    let old = Person::new();
    let create = ["account", "create", "--node", node.address(), "--name", "Ada"];
    let created = old.json(&create);
    assert_eq!(created["published"], true);
    let phrase = created["phrase"].as_str().unwrap();
    assert_eq!(phrase.split(' ').count(), 24);
    let shown = old.json(&["account", "show"]);
    assert_eq!(shown["account"], created["account"]);
    assert_eq!(shown["name"], "Ada");
    assert_fails(&old.run(&create), 1, "already");

    let new = Person::new();
    assert_fails(&new.run(&["account", "show"]), 1, "no account here");
    let recover = ["--json", "account", "recover", "--node", node.address()];
    let recovered = new.pipe(&recover, &format!("  {}\n", phrase.to_uppercase()));
    assert!(recovered.status.success(), "{}", stderr(&recovered));
    let recovered: serde_json::Value = serde_json::from_slice(&recovered.stdout).unwrap();
    assert_eq!(recovered["account"], created["account"]);
    assert!(recovered.get("phrase").is_none(), "the words are not said again");
    let ranks = new.json(&["account", "show"])["rank"].clone();
    let delegation = |rank: &serde_json::Value| rank[1].as_u64().unwrap();
    assert_eq!(delegation(&ranks), delegation(&shown["rank"]) + 1, "{ranks}");

    let _daemon = old.up();
    let shown = old.until(&["account", "show"], |shown| shown["locked_out"] == true);
    assert_eq!(shown["account"], created["account"]);
    assert_fails(&old.run(&["contact", "invite"]), 1, "no longer part of its account");
}

#[test]
fn wrong_words_are_refused_with_the_reason() {
    let place = tempfile::tempdir().unwrap();
    let node = Running::node(place.path());
    let person = Person::new();
    let recover = |words: &str| {
        person.pipe(&["account", "recover", "--timeout", "20", "--node", node.address()], words)
    };
    let unknown = format!("{}art", "abandon ".repeat(23));
    let typo = format!("{}abandom art", "abandon ".repeat(22));
    assert_fails(&recover("abandon ability"), 1, "24 words, this has 2");
    assert_fails(&recover(&typo), 1, "word 23");
    assert_fails(&recover(&"abandon ".repeat(24)), 1, "checksum");
    let refused = recover(&unknown);
    assert_fails(&refused, 1, "know no account of this phrase");
    assert!(!stderr(&refused).contains("abandon"), "words stay out of errors");
    let created = person.json(&["account", "create", "--node", node.address()]);
    assert_eq!(created["published"], true, "a failed recovery leaves the home empty");
}

#[test]
fn without_a_node_the_account_is_made_and_the_exit_code_says_so() {
    let person = Person::new();
    let place = tempfile::tempdir().unwrap();
    let address = Running::node(place.path()).address().to_owned();
    let create = ["account", "create", "--node", &address, "--timeout", "1"];
    let created = person.run(&create);
    assert_fails(&created, 3, "has not answered");
    assert!(stdout(&created).starts_with("siskin1"), "{}", stdout(&created));
    assert!(person.json(&["account", "show"])["published"] == false);
    let output = person.run(&["account", "create", "--node", "sisknode1x@127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn a_node_that_accepts_no_accounts_says_so() {
    let place = tempfile::tempdir().unwrap();
    let arguments = ["node", "--json", "--registration", "closed", "--listen", "127.0.0.1:0"];
    let mut command = siskin(&arguments);
    let node = Running::start(command.arg("--data-dir").arg(place.path()));
    let person = Person::new();
    let made = person.run(&["account", "create", "--node", node.address()]);
    assert_fails(&made, 3, "takes no new accounts");
    assert_eq!(person.json(&["account", "show"])["published"], false);
}

#[test]
fn secrets_are_for_their_owner_alone() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("node");
    let node = Running::node(&data);
    let person = Person::with_account("Ada", node.address());
    let daemon = person.up();
    let home = person.home();
    for (path, mode) in [
        (home.clone(), 0o700),
        (home.join("master.key"), 0o600),
        (home.join("client.db"), 0o600),
        (home.join("client.db-lock"), 0o600),
        (home.join("siskin.sock"), 0o600),
        (data.clone(), 0o700),
        (data.join("node.key"), 0o600),
    ] {
        assert_eq!(mode_of(&path), mode, "{}", path.display());
    }
    for entry in fs::read_dir(&home).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode_of(&path) & 0o077, 0, "{}", path.display());
    }
    assert!(daemon.terminate().success());
    assert!(!home.join("siskin.sock").exists(), "the socket goes with the daemon");
    fs::set_permissions(home.join("master.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let refused = person.run(&["account", "show"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("chmod 600"), "{}", stderr(&refused));
}

#[test]
fn only_one_process_has_the_account() {
    let person = Person::new();
    let _daemon = person.up();
    let second = person.run(&["up"]);
    assert_fails(&second, 6, "in use");
    let second = person.run(&["--json", "up"]);
    let error: serde_json::Value = serde_json::from_slice(&second.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "locked");
}

#[test]
fn rows_of_a_newer_version_are_left_alone() {
    let person = Person::new();
    let home = person.home();
    drop(person.run(&["account", "show"]));
    fs::remove_file(home.join("client.db")).unwrap();
    let master: [u8; 32] = fs::read(home.join("master.key")).unwrap().try_into().unwrap();
    let key = crypto::derive_key(&master, "client-store", b"");
    let (name, version) = client::LAYOUT;
    let layout = store::Layout { name, version: version + 1, migrations: &[] };
    drop(store::Sqlite::open(&home.join("client.db"), &key, &layout).unwrap());
    assert_fails(&person.run(&["account", "show"]), 6, "newer version");
    fs::write(home.join("master.key"), [7; 32]).unwrap();
    assert_fails(&person.run(&["account", "show"]), 6, "can't be decrypted");
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_random_home_node_that_refuses_the_account_is_replaced_by_the_others() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    // A node names others when it is asked for homes.
    let asked = Running::node(&at("asked"));
    let open = Running::joined(&at("open"), &[asked.address()]);
    let mut command = siskin(&["node", "--json", "--no-mdns", "--registration", "closed"]);
    command.args(["--listen", "127.0.0.1:0", "--join", asked.address(), "--data-dir"]);
    let closed = Running::start(command.arg(at("closed")));
    status_until(&at("asked"), |status| status["contacts"] == 2);
    // Either of the first two home nodes may refuse the account.
    for _ in 0..4 {
        let person = Person::new();
        let create = ["account", "create", "--bootstrap", asked.address(), "--name", "Ada"];
        let created = person.json(&create);
        let shown = person.json(&["account", "show"]);
        assert_eq!(shown["nodes"], serde_json::json!([open.address()]), "{shown}");
        assert_eq!(shown["published"], true);
        assert_eq!(created["refusing"], serde_json::json!([closed.address()]), "{created}");
    }
}

#[test]
fn the_directory_can_be_named_by_its_former_option_and_variable() {
    let place = tempfile::tempdir().unwrap();
    for (name, option, variable) in [
        ("a", Some("--dir"), None),
        ("b", Some("--home"), None),
        ("c", None, Some("SISKIN_DIR")),
        ("d", None, Some("SISKIN_HOME")),
    ] {
        let directory = place.path().join(name);
        let mut command = siskin(&["account", "show"]);
        option.map(|option| command.arg(option).arg(&directory));
        variable.map(|variable| command.env(variable, &directory));
        assert_fails(&command.output().unwrap(), 1, "no account");
        assert!(directory.join("client.db").exists(), "{option:?} {variable:?}");
    }
}
