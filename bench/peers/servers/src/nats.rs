//! NATS JetStream under the same load: the smallest publisher over its plain TCP protocol.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    measure::{Scratch, micros, processor_time},
    process::{ServerProcess, free_address},
};

/// Publishes under the loads of `bench throughput`.
pub(crate) fn run() -> Result<()> {
    let Some(server) = Server::start()? else {
        println!("nats: no nats-server on this machine");
        return Ok(());
    };
    println!("nats: JetStream, 450-byte messages, {}", server.durability());
    println!("  publishers  in flight   messages/s  server µs  publishers µs");
    for (publishers, window) in LOADS {
        let figures = server.publish(publishers, window, TIME)?;
        println!(
            "  {publishers:10} {window:5} each {:12.0} {:10.1} {:14.1}",
            figures.per_s,
            micros(figures.server),
            micros(figures.publishers),
        );
    }
    Ok(())
}

/// A server with a stream on disk.
#[derive(Debug)]
struct Server {
    process: ServerProcess,
    address: SocketAddr,
    synced: bool,
    _directory: Scratch,
}

/// What a run gave: messages per second, processor time per message.
#[derive(Clone, Copy, Debug)]
struct Figures {
    per_s: f64,
    server: Duration,
    publishers: Duration,
}

impl Server {
    /// Starts a server that syncs before it acknowledges, or else, for older versions don't, one
    /// that does not. Nothing if this machine has none.
    fn start() -> Result<Option<Self>> {
        for (synced, setting) in [(true, ", sync_interval: always"), (false, "")] {
            let (directory, address) = (Scratch::on_disk()?, free_address()?);
            let config = directory.path().join("nats.conf");
            let store = directory.path().join("store");
            let text = format!(
                "listen: \"{address}\"\njetstream {{ store_dir: \"{}\"{setting} }}\n",
                store.display()
            );
            fs::write(&config, text)?;
            let config = config.display().to_string();
            let started = ServerProcess::start("nats-server", &["-c", &config], address)?;
            if let Some(process) = started {
                let server = Self { process, address, synced, _directory: directory };
                server.create_stream()?;
                return Ok(Some(server));
            }
        }
        Ok(None)
    }

    fn durability(&self) -> &'static str {
        if self.synced {
            "synced before they are acknowledged"
        } else {
            "acknowledged before any sync: this version can't do better"
        }
    }

    fn create_stream(&self) -> Result<()> {
        let mut connection = Connection::open(self.address)?;
        connection.subscribe()?;
        let config = r#"{"name":"BENCH","subjects":["bench.*"],"storage":"file","num_replicas":1}"#;
        connection.publish("$JS.API.STREAM.CREATE.BENCH", config.as_bytes())?;
        connection.flush()?;
        let answer = connection.message()?;
        if answer.contains("\"error\"") {
            bail!("NATS: {answer}");
        }
        Ok(())
    }

    /// Publishes for so long from so many connections, each with so many on their way.
    fn publish(&self, publishers: u32, window: u64, time: Duration) -> Result<Figures> {
        let (stored, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let workers: Vec<_> = (0..publishers)
            .map(|number| {
                let (address, stored) = (self.address, Arc::clone(&stored));
                let stop = Arc::clone(&stop);
                thread::spawn(move || work(address, number, window, &stored, &stop))
            })
            .collect();
        // Warms up: as long as ours does.
        thread::sleep(Duration::from_secs(1));
        let (begun, before) = (Instant::now(), stored.load(Relaxed));
        let (ours, theirs) = (processor_time(process::id())?, processor_time(self.process.id())?);
        // This is the time that is measured.
        thread::sleep(time);
        let messages = stored.load(Relaxed) - before;
        let took = begun.elapsed();
        let ours = processor_time(process::id())?.saturating_sub(ours);
        let theirs = processor_time(self.process.id())?.saturating_sub(theirs);
        stop.store(true, Relaxed);
        for worker in workers {
            worker.join().ok().context("a publisher panicked")??;
        }
        let each = |time: Duration| time.div_f64(messages.max(1) as f64);
        let per_s = messages as f64 / took.as_secs_f64();
        Ok(Figures { per_s, server: each(theirs), publishers: each(ours) })
    }
}

fn work(
    address: SocketAddr,
    number: u32,
    window: u64,
    stored: &AtomicU64,
    stop: &AtomicBool,
) -> Result<()> {
    let mut connection = Connection::open(address)?;
    connection.subscribe()?;
    let subject = format!("bench.{number}");
    for _ in 0..window {
        connection.publish(&subject, &[b'x'; MESSAGE_BYTES])?;
    }
    connection.flush()?;
    while !stop.load(Relaxed) {
        let answer = connection.message()?;
        if answer.contains("\"error\"") {
            bail!("NATS: {answer}");
        }
        stored.fetch_add(1, Relaxed);
        connection.publish(&subject, &[b'x'; MESSAGE_BYTES])?;
    }
    Ok(())
}

/// One client of the NATS protocol.
#[derive(Debug)]
struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    out: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let writer = TcpStream::connect(address)?;
        writer.set_nodelay(true)?;
        writer.set_read_timeout(Some(Duration::from_secs(20)))?;
        let reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut connection = Self { reader, writer, out: Vec::new() };
        connection.line()?;
        connection.out.extend(b"CONNECT {\"verbose\":false}\r\nPING\r\n");
        connection.flush()?;
        while connection.line()? != "PONG" {}
        Ok(connection)
    }

    fn subscribe(&mut self) -> Result<()> {
        let inbox = format!("SUB {} 1\r\n", self.inbox()?);
        self.out.extend(inbox.as_bytes());
        Ok(())
    }

    fn inbox(&self) -> Result<String> {
        Ok(format!("_INBOX.{}", self.writer.local_addr()?.port()))
    }

    fn publish(&mut self, subject: &str, payload: &[u8]) -> Result<()> {
        let head = format!("PUB {subject} {} {}\r\n", self.inbox()?, payload.len());
        self.out.extend(head.as_bytes());
        self.out.extend(payload);
        self.out.extend(b"\r\n");
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.writer.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        // As long as there is more to read, what is said in answer waits to leave together.
        if !self.reader.buffer().contains(&b'\n') {
            self.flush()?;
        }
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        if line.is_empty() {
            bail!("NATS hung up");
        }
        Ok(line.trim_end().to_owned())
    }

    /// The next message for us.
    fn message(&mut self) -> Result<String> {
        loop {
            let line = self.line()?;
            match line.split(' ').next() {
                Some("MSG") => return self.line(),
                Some("PING") => self.out.extend(b"PONG\r\n"),
                Some("-ERR") => bail!("NATS: {line}"),
                _ => {}
            }
        }
    }
}

/// Publishers, and how many messages each has in flight: those of `bench throughput`.
const LOADS: [(u32, u64); 5] = [(1, 1), (1, 64), (16, 1), (16, 64), (128, 32)];
const TIME: Duration = Duration::from_secs(5);
/// The size of a sealed text of 100 bytes.
const MESSAGE_BYTES: usize = 450;
