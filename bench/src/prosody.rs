//! Prosody, the lean XMPP server, in the clear: the smallest client over plain TCP.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, bail};

use crate::{
    measure::{Scratch, loopback_bytes, memory_kib},
    peer_process::{PeerProcess, free_address},
    people::MESSAGE_BYTES,
};

/// A server with accounts `u0`, `u1` and so on.
#[derive(Debug)]
pub(crate) struct Server {
    process: PeerProcess,
    address: SocketAddr,
    _directory: Scratch,
}

impl Server {
    /// Nothing if this machine has none.
    pub(crate) fn start() -> Result<Option<Self>> {
        let (directory, address) = (Scratch::on_disk()?, free_address()?);
        let place = directory.path().canonicalize()?;
        let accounts = place.join("data/localhost/accounts");
        fs::create_dir_all(&accounts)?;
        for number in 0..ACCOUNTS {
            let account = "return {\n\t[\"password\"] = \"secret\";\n};\n";
            fs::write(accounts.join(format!("u{number}.dat")), account)?;
        }
        let config = place.join("prosody.cfg.lua");
        let (port, place) = (address.port(), place.display());
        fs::write(
            &config,
            CONFIG.replace("PORT", &port.to_string()).replace("PLACE", &place.to_string()),
        )?;
        let config = config.display().to_string();
        let started = PeerProcess::start("prosody", &["--config", &config, "-F"], address)?;
        Ok(started.map(|process| Self { process, address, _directory: directory }))
    }

    /// Bytes of IP packets per message from one user to another, at `rate` a second.
    pub(crate) fn wire(&self, rate: u32, count: u64) -> Result<f64> {
        let mut writer = User::log_in(self.address, 0)?;
        let mut reader = User::log_in(self.address, 1)?;
        sleep(Duration::from_millis(500));
        let before = loopback_bytes()?;
        for number in 0..count {
            let body = "x".repeat(MESSAGE_BYTES);
            writer.say(&format!(
                "<message to='u1@localhost' type='chat' id='m{number}'><body>{body}</body></message>"
            ))?;
            reader.hear("</message>")?;
            sleep(Duration::from_secs(1) / rate);
        }
        Ok((loopback_bytes()? - before) as f64 / count as f64)
    }

    /// Memory per connected user, in KiB.
    pub(crate) fn idle(&self, users: usize) -> Result<f64> {
        sleep(Duration::from_secs(1));
        let empty = memory_kib(self.process.id())?;
        let users: Result<Vec<User>> =
            (0..users).map(|number| User::log_in(self.address, number)).collect();
        let users = users?;
        sleep(Duration::from_secs(3));
        let full = memory_kib(self.process.id())?;
        Ok(full.saturating_sub(empty) as f64 / users.len() as f64)
    }
}

/// One connected user.
#[derive(Debug)]
struct User {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl User {
    fn log_in(address: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut user = Self { stream, heard: Vec::new() };
        user.say(STREAM)?;
        user.hear("</stream:features>")?;
        let secret = base64(format!("\0u{number}\0secret").as_bytes());
        user.say(&format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
        ))?;
        user.hear("<success")?;
        user.say(STREAM)?;
        user.hear("</stream:features>")?;
        user.say(
            "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
             <resource>r</resource></bind></iq>",
        )?;
        user.hear("</iq>")?;
        user.say("<presence/>")?;
        user.hear("<presence")?;
        Ok(user)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Waits until `text` was heard, and forgets everything up to it.
    fn hear(&mut self, text: &str) -> Result<()> {
        loop {
            let found = self.heard.windows(text.len()).position(|part| part == text.as_bytes());
            if let Some(at) = found {
                self.heard.drain(..at + text.len());
                return Ok(());
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes)?;
            if count == 0 {
                bail!("Prosody hung up: {}", String::from_utf8_lossy(&self.heard));
            }
            self.heard.extend(&bytes[..count]);
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*group.get(at).unwrap_or(&0)));
        let letter = |at: usize| match at <= group.len() {
            true => char::from(letters[(bits >> (18 - 6 * at) & 63) as usize]),
            false => '=',
        };
        [0, 1, 2, 3].map(letter)
    };
    bytes.chunks(3).flat_map(group).collect()
}

#[test]
fn encodes_as_rfc_4648_does() {
    for (bytes, text) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
    {
        assert_eq!(base64(bytes.as_bytes()), text);
    }
}

const ACCOUNTS: usize = 1000;
const STREAM: &str = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const CONFIG: &str = r#"
run_as_root = true
pidfile = "PLACE/prosody.pid"
data_path = "PLACE/data"
log = { error = "PLACE/prosody.err" }
authentication = "internal_plain"
storage = "internal"
modules_enabled = { "saslauth"; "roster"; "disco"; "ping"; "offline" }
modules_disabled = { "s2s"; "tls" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
interfaces = { "127.0.0.1" }
c2s_ports = { PORT }
s2s_ports = {}
VirtualHost "localhost"
"#;
