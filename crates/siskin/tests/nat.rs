//! A node behind a NAT serves: three public nodes and a router that translates addresses, each in a
//! network namespace of its own. Needs root, `ip` and `nft`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::process::{Command, Stdio};

#[test]
fn a_node_behind_a_nat_serves_through_another_one() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"]);
    command.args(["-euc", SCRIPT, "nat", env!("CARGO_BIN_EXE_siskin")]).arg(place.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("served through a relay"), "{said}\n{complained}");
}

/// The process starts in the outer network, with the public nodes. `nat` is the router, `inside`
/// the network behind it. Everything ends with this process, namespaces included.
const SCRIPT: &str = r#"
siskin=$1 place=$2
mkdir -p /run/netns
mount -t tmpfs none /run/netns
ip netns add nat
ip netns add inside
ip link set lo up
ip link add out type veth peer name world netns nat
ip -n nat link add home type veth peer name cable netns inside
for public in 192.0.2.1 198.51.100.1 203.0.113.1; do ip addr add $public/32 dev out; done
ip addr add 192.0.3.1/24 dev out
ip link set out up
ip -n nat addr add 192.0.3.2/24 dev world
ip -n nat link set world up
ip -n nat addr add 10.0.0.1/24 dev home
ip -n nat link set home up
for public in 192.0.2.1 198.51.100.1 203.0.113.1; do
  ip -n nat route add $public/32 via 192.0.3.1
done
ip -n inside link set lo up
ip -n inside addr add 10.0.0.2/24 dev cable
ip -n inside link set cable up
ip -n inside route add default via 10.0.0.1
ip netns exec nat sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
ip netns exec nat nft -f - <<'NFT'
table ip nat {
  chain out {
    type nat hook postrouting priority srcnat
    oifname "world" masquerade random,fully-random
  }
}
NFT

# Says a field of what a node tells its operator.
status() { "$siskin" node status --json --data-dir "$place/$1" 2>/dev/null || true; }
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p"; }

started=
for public in 192.0.2.1 198.51.100.1 203.0.113.1; do
  "$siskin" node --no-mdns --listen $public:4440 --data-dir "$place/$public" \
    ${started:+--join "$started"} \
    >"$place/$public.out" 2>"$place/$public.log" &
  until [ -s "$place/$public.out" ]; do read -rt 0.05 <> <(:) || :; done
  started=$(head -1 "$place/$public.out")
done
ip netns exec inside "$siskin" node --no-mdns --listen 10.0.0.2:4440 --data-dir "$place/inside" \
  --join "$started" >"$place/inside.out" 2>"$place/inside.log" &
address=
for _ in $(seq 1200); do
  address=$(status inside | field address)
  case $address in *@192.0.2.1:*|*@198.51.100.1:*|*@203.0.113.1:*) break;; esac
  address=
  read -rt 0.05 <> <(:) || :
done
if [ -z "$address" ]; then
  status inside; tail -n 30 "$place"/*.log
  exit 1
fi
echo "the node behind the NAT is at $address"
# A client outside uses it as its home node, without knowing of the NAT.
"$siskin" --dir "$place/ann" account create --name Ann --node "$address" --timeout 20
[ "$(status inside | field accounts)" = 1 ] && echo "served through a relay"
"#;
