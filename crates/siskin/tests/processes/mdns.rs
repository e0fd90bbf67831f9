//! Nodes that discover each other by multicast DNS, in a network of their own.

use std::process::{Command, Stdio};

use crate::people::{siskin, stderr, stdout};

#[test]
fn nodes_on_the_same_lan_discover_each_other() {
    let place = tempfile::tempdir().unwrap();
    let program = siskin(&[]).get_program().to_owned();
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user", "sh", "-ec", SCRIPT, "sh"]);
    command.arg(program).arg(place.path()).env_remove("SISKIN_JOIN").stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("10.77.0.1"), "{}", stdout(&output));
}

/// A network with one cable that leads nowhere, and two nodes. Each asking is a process.
const SCRIPT: &str = r#"
ip link set lo up
ip link add here type veth peer name there
ip addr add 10.77.0.1/24 dev here
ip link set here up
ip link set there up
trap 'kill $first $second; wait' EXIT
"$1" node --listen 10.77.0.1:4441 --data-dir "$2/1" >/dev/null 2>"$2/1.log" & first=$!
"$1" node --listen 10.77.0.1:4442 --data-dir "$2/2" >/dev/null 2>"$2/2.log" & second=$!
for asked in $(seq 500); do
    peers=$("$1" node peers --json --data-dir "$2/1" 2>/dev/null || true)
    if [ -n "$peers" ]; then echo "$peers"; exit 0; fi
done
cat "$2/1.log" "$2/2.log" >&2
exit 1
"#;
