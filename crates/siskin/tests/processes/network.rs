//! Nodes that find each other, and what they tell about it.

use std::path::Path;

use serde_json::Value;

use crate::people::{Person, Running, assert_fails, siskin, status_until, stderr, stdout, tries};

/// Three nodes in a directory, joined through the first.
fn three(place: &Path) -> [Running; 3] {
    let first = Running::joined(&place.join("0"), &[]);
    let second = Running::joined(&place.join("1"), &[first.address()]);
    let third = Running::joined(&place.join("2"), &[first.address()]);
    [first, second, third]
}

fn lookup(arguments: &[&str]) -> std::process::Output {
    siskin(&[&["lookup"], arguments].concat()).output().unwrap()
}

fn json(output: &std::process::Output) -> Value {
    assert!(output.status.success(), "{}", stderr(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn nodes_find_each_other_and_the_accounts_of_all() {
    let place = tempfile::tempdir().unwrap();
    let [first, second, third] = three(place.path());
    let status = status_until(&place.path().join("0"), |status| status["contacts"] == 2);
    assert_eq!(status["address"], first.address());
    assert_eq!(status["accounts"], 0);

    let ann = Person::with_account("Ann", second.address());
    let account = ann.json(&["account", "show"])["account"].as_str().unwrap().to_owned();
    let ask = || lookup(&[&account, "--node", third.address(), "--trace", "--json"]);
    // The publication is under way when the account is told that it is there.
    let found = tries().map(|()| ask()).find(|output| output.status.success());
    let found = json(&found.unwrap());
    assert_eq!(found["target"], account);
    assert_eq!(found["record"]["kind"], "account");
    assert_eq!(found["record"]["homes"][0], second.address());
    assert!(found["hops"].is_array());
    let shown = stdout(&lookup(&[&account, "--node", third.address(), "--trace"]));
    assert!(shown.contains(second.address()) && shown.contains("outcome"), "{shown}");

    let node = second.first["node"].as_str().unwrap();
    let found = json(&lookup(&[node, "--node", third.address(), "--json"]));
    assert_eq!(found["record"]["addresses"][0], second.address().split_once('@').unwrap().1);
    assert_eq!(found["hops"], Value::Null);
}

#[test]
fn accounts_are_found_when_nodes_have_been_killed() {
    let place = tempfile::tempdir().unwrap();
    let at = |number: usize| place.path().join(number.to_string());
    let mut nodes = vec![Running::joined(&at(0), &[])];
    for number in 1..7 {
        let first = nodes[0].address().to_owned();
        nodes.push(Running::joined(&at(number), &[&first]));
    }
    for number in 0..7 {
        status_until(&at(number), |status| status["contacts"] == 6);
    }
    let person = |home: usize| Person::with_account("a person", nodes[home].address());
    let accounts = [2, 3, 4].map(|home| {
        person(home).json(&["account", "show"])["account"].as_str().unwrap().to_owned()
    });
    let ask = |account: &str, node: &Running| lookup(&[account, "--node", node.address()]);
    let finds =
        |account: &str, node: &Running| tries().any(|()| ask(account, node).status.success());
    assert!(accounts.iter().all(|account| finds(account, &nodes[6])), "published");
    // The home of one of them and a stranger, without warning.
    drop(nodes.remove(5));
    drop(nodes.remove(2));
    for (account, node) in accounts.iter().zip(nodes.iter().rev()) {
        let found = ask(account, node);
        assert!(found.status.success(), "{}", stderr(&found));
    }
}

#[test]
fn an_unknown_account_is_not_found() {
    let place = tempfile::tempdir().unwrap();
    let node = Running::joined(place.path(), &[]);
    let unknown = proto::AccountId([7; 32]).to_string();
    assert_fails(&lookup(&[&unknown, "--node", node.address()]), 1, "does not know it");
    let traced = lookup(&[&unknown, "--node", node.address(), "--trace", "--json"]);
    assert_eq!(traced.status.code(), Some(1));
    let traced: Value = serde_json::from_slice(&traced.stdout).unwrap();
    assert_eq!(traced["record"], Value::Null);
    let nonsense = lookup(&["siskin1nonsense"]);
    assert_eq!(nonsense.status.code(), Some(2), "{}", stderr(&nonsense));
    let person = Person::new();
    assert_fails(&person.run(&["lookup", &unknown]), 2, "no node runs here");
}

#[test]
fn a_node_tells_who_is_connected() {
    let place = tempfile::tempdir().unwrap();
    let first = Running::joined(&place.path().join("0"), &[]);
    let mut command = siskin(&["node", "run", "--json", "--region", "DE", "--join"]);
    command.args([first.address(), "--listen", "127.0.0.1:0", "--data-dir"]);
    let second = Running::start(command.arg(place.path().join("1")));
    status_until(&place.path().join("0"), |status| status["contacts"] == 1);
    let peers = |more: &[&str]| {
        let arguments = [&["node", "peers"], more, &["--data-dir"]].concat();
        siskin(&arguments).arg(place.path().join("0")).output().unwrap()
    };
    let peer = json(&peers(&["--json"]));
    assert_eq!(peer["node"], second.first["node"]);
    assert_eq!(peer["region"], "DE");
    assert!(peer["neighbour"].is_boolean());
    let table = stdout(&peers(&[]));
    assert!(table.contains("neighbour") && table.contains("DE"), "{table}");
    assert_fails(
        &siskin(&["node", "status", "--data-dir"]).arg(place.path().join("9")).output().unwrap(),
        1,
        "no node runs",
    );
}

#[test]
fn a_node_that_is_asked_to_end_takes_its_leave_first() {
    let place = tempfile::tempdir().unwrap();
    let [first, second, third] = three(place.path());
    status_until(&place.path().join("0"), |status| status["contacts"] == 2);
    assert!(second.terminate().success());
    status_until(&place.path().join("0"), |status| status["links"] == 1);
    drop(third);
    drop(first);
}

#[test]
fn a_node_finds_those_again_that_it_was_told_of() {
    let place = tempfile::tempdir().unwrap();
    let first = Running::joined(&place.path().join("0"), &[]);
    let config = place.path().join("node.toml");
    let text = format!(
        "data_dir = {:?}\nlisten = ['127.0.0.1:0']\njoin = [{:?}]\nregion = 'eu'\n",
        place.path().join("1"),
        first.address()
    );
    std::fs::write(&config, text).unwrap();
    let start = || Running::start(siskin(&["node", "--json", "--config"]).arg(&config));
    let second = start();
    status_until(&place.path().join("1"), |status| status["joined"] == true);
    assert!(second.terminate().success());
    let _second = start();
    status_until(&place.path().join("1"), |status| status["joined"] == true);
    std::fs::write(&config, "region = 'much too long for a region'").unwrap();
    let output = siskin(&["node", "--config"]).arg(&config).output().unwrap();
    assert_fails(&output, 2, "region");
    std::fs::write(&config, "join = ['nonsense']").unwrap();
    let output = siskin(&["node", "--config"]).arg(&config).output().unwrap();
    assert_fails(&output, 2, "`nonsense`");
}
