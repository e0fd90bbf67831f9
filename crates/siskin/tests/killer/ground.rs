//! The ground that nodes stand on: for each a network of its own and a small disk of its own, in
//! namespaces that end with the process, so that nothing is left however it ends.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs this very test once more, apart from the machine's networks, mounts and processes.
pub(crate) fn run_apart(test: &str) {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let place = tempfile::tempdir().unwrap();
    let status = command.env(APART, place.path()).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{status}");
}

/// Where this process may put things, if it runs apart.
pub(crate) fn place() -> Option<PathBuf> {
    std::env::var_os(APART).map(PathBuf::from)
}

/// A bridge, to which people and nodes are connected, and room for people's databases in memory:
/// they have disks of their own in life, and should not wait for those of nodes.
pub(crate) fn prepare(people: &Path) {
    fs::create_dir_all("/run/netns").unwrap();
    fs::create_dir_all(people).unwrap();
    run("mount -t tmpfs none /run/netns");
    run(&format!("mount -t tmpfs none {}", people.display()));
    run("ip link set lo up");
    run("ip link add town type bridge");
    run("ip addr add 10.9.0.1/24 dev town");
    run("ip link set town up");
}

/// Where one node stands.
pub(crate) struct Plot {
    number: usize,
    disk: PathBuf,
}

impl Plot {
    pub(crate) fn new(place: &Path, number: usize, disk_mib: u64) -> Self {
        let disk = place.join(format!("disk{number}"));
        let image = place.join(format!("image{number}"));
        fs::create_dir(&disk).unwrap();
        File::create(&image).unwrap().set_len(disk_mib << 20).unwrap();
        run(&format!("mkfs.ext4 -q -m 0 {}", image.display()));
        run(&format!("mount -o loop {} {}", image.display(), disk.display()));
        // It goes when nothing holds it any more.
        fs::remove_file(&image).unwrap();
        run(&format!("ip netns add plot{number}"));
        run(&format!("ip link add out{number} type veth peer name in netns plot{number}"));
        run(&format!("ip link set out{number} master town up"));
        run(&format!("ip -n plot{number} addr add 10.9.0.{}/24 dev in", 10 + number));
        run(&format!("ip -n plot{number} link set in up"));
        run(&format!("ip -n plot{number} link set lo up"));
        Self { number, disk }
    }

    /// What a node is run under to stand here.
    pub(crate) fn under(&self) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/plot{}", self.number)]
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.disk.join("node")
    }

    pub(crate) fn listens(&self) -> String {
        format!("10.9.0.{}:4440", 10 + self.number)
    }

    /// Cuts or repairs the cable. Neither end is notified.
    pub(crate) fn cut(&self, is_cut: bool) {
        let end = if is_cut { "nomaster" } else { "master town" };
        run(&format!("ip link set out{} {end}", self.number));
    }

    /// Fills the disk to the last block.
    pub(crate) fn fill(&self) {
        let ballast = self.disk.join("ballast");
        let _ = Command::new("fallocate")
            .args(["--length", &self.free().to_string()])
            .arg(&ballast)
            .stderr(Stdio::null())
            .status();
        let mut rest = File::create(self.disk.join("rest")).unwrap();
        while rest.write_all(&[1; 4096]).is_ok() {}
    }

    /// Makes room again.
    pub(crate) fn clear(&self) {
        for name in ["ballast", "rest"] {
            let _ = fs::remove_file(self.disk.join(name));
        }
    }

    /// What a node here says of itself, if it says anything.
    pub(crate) fn evidence(&self) -> String {
        let ask = |what: &str| {
            let mut command = Command::new("timeout");
            command.args(["2", env!("CARGO_BIN_EXE_siskin"), "node", what, "--json"]);
            let output = command.arg("--data-dir").arg(self.directory()).output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        format!("node {}: {} {}", self.number, ask("status"), ask("peers"))
    }

    /// Bytes.
    fn free(&self) -> u64 {
        let mut command = Command::new("df");
        let output = command.args(["--output=avail", "--block-size=1"]).arg(&self.disk).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().last().unwrap().trim().parse().unwrap()
    }
}

fn run(line: &str) {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    let output = command.args(words).output().unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

const APART: &str = "SISKIN_TEST_APART";
