//! Prosody, the lean XMPP server, in the clear: the smallest client over plain TCP.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread::sleep,
    time::Duration,
};

use anyhow::{Result, bail};
use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::{
    measure::{Scratch, loopback_bytes, memory_kib},
    process::{ServerProcess, free_address},
};

/// Measures what `bench wire` and `bench idle` measure, without encryption.
pub(crate) fn run() -> Result<()> {
    let Some(server) = Server::start()? else {
        println!("prosody: not on this machine");
        return Ok(());
    };
    println!("prosody: unencrypted");
    let bytes = server.wire(PER_S, COUNT)?;
    println!("  wire   {bytes:.0} bytes of IP packets per 100-byte message, {PER_S} a second");
    println!("  idle   {:.1} KiB per connected user", server.idle(ACCOUNTS)?);
    Ok(())
}

/// A server with accounts `u0`, `u1` and so on.
#[derive(Debug)]
struct Server {
    process: ServerProcess,
    address: SocketAddr,
    _directory: Scratch,
}

impl Server {
    /// Nothing if this machine has none.
    fn start() -> Result<Option<Self>> {
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
        let started = ServerProcess::start("prosody", &["--config", &config, "-F"], address)?;
        Ok(started.map(|process| Self { process, address, _directory: directory }))
    }

    /// Bytes of IP packets per message from one user to another, at `rate` a second.
    fn wire(&self, rate: u32, count: u64) -> Result<f64> {
        let mut writer = User::log_in(self.address, 0)?;
        let mut reader = User::log_in(self.address, 1)?;
        // Acknowledgements of the logins still follow, and nothing tells which is the last.
        sleep(Duration::from_millis(500));
        let before = loopback_bytes()?;
        for number in 0..count {
            let body = "x".repeat(MESSAGE_BYTES);
            writer.say(&format!(
                "<message to='u1@localhost' type='chat' id='m{number}'><body>{body}</body></message>"
            ))?;
            reader.hear("</message>")?;
            // This is the rate that is measured.
            sleep(Duration::from_secs(1) / rate);
        }
        Ok((loopback_bytes()? - before) as f64 / count as f64)
    }

    /// Memory per connected user, in KiB.
    fn idle(&self, users: usize) -> Result<f64> {
        // The server gives memory back some time after a start and after logins, as ours does, and
        // does not tell when it has.
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
        let secret = BASE64_STANDARD.encode(format!("\0u{number}\0secret"));
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

const ACCOUNTS: usize = 1000;
const MESSAGE_BYTES: usize = 100;
const PER_S: u32 = 5;
const COUNT: u64 = 50;
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
