//! Servers under test, which end with the benchmark however it ends.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// A server under a shell that stops it when this process closes its input or is gone.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    shell: Child,
    server: u32,
}

impl ServerProcess {
    /// Starts `program`; nothing if this machine has none, or if it does not listen at `address`
    /// within a few seconds.
    pub(crate) fn start(
        program: &str,
        arguments: &[&str],
        address: SocketAddr,
    ) -> Result<Option<Self>> {
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "sh", program]).args(arguments);
        // Debian has servers where only the administrator's shell looks.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
        let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let output = shell.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let server = line.trim().parse().unwrap_or_default();
        let peer = Self { shell, server };
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end && std::fs::exists(format!("/proc/{server}/stat"))? {
            if TcpStream::connect(address).is_ok() {
                return Ok(Some(peer));
            }
            // Servers do not tell when they begin to listen.
            sleep(Duration::from_millis(50));
        }
        Ok(None)
    }

    pub(crate) fn id(&self) -> u32 {
        self.server
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}

/// An address that was free when it was checked.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

const SHELL: &str = r#"command -v "$1" >/dev/null || { echo 0; exit; }
"$@" </dev/null >/dev/null 2>&1 & echo $!
read _; kill $! 2>/dev/null; wait"#;
