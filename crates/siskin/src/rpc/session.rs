//! Calling methods: in the daemon if one runs, else in this process.

use std::{io, path::Path, sync::Arc, time::Duration};

use client::view;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::{
    io::BufReader,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{sleep, timeout},
};

use super::{
    call::Call,
    shapes::EventShape,
    subscription::{SUBSCRIBE, Subscribe, Subscription},
    wire::{Notification, RESPONSE_MAX, Request, Response, Version, read_line, write_line},
};
use crate::{engine::Engine, failure::Failure, paths::Home};

/// Calls one method, in the daemon if there is one.
pub(crate) async fn call<C: Call>(home: &Home, call: C) -> Result<C::Returns, Failure> {
    let mut session = Session::open(home).await?;
    let result = session.call(call).await;
    session.close().await?;
    result
}

/// As [`call`], with what others have sent meanwhile.
pub(crate) async fn call_caught_up<C: Call>(home: &Home, call: C) -> Result<C::Returns, Failure> {
    let mut session = Session::open(home).await?;
    let result = match session.catch_up().await {
        Ok(()) => session.call(call).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Where methods are called.
pub(crate) enum Session {
    /// In the daemon.
    Daemon(Remote),
    /// Here, for as long as this lasts.
    Here(Arc<Engine>),
}

/// A connection to a daemon.
pub(crate) struct Remote {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    asked: u64,
}

/// Events as they happen.
pub(crate) enum Stream {
    Daemon(Remote),
    Here(Box<Subscription>),
}

impl Session {
    /// Finds the daemon of a home, or opens its account in this process.
    pub(crate) async fn open(home: &Home) -> Result<Self, Failure> {
        let mut tries = 0_u32;
        loop {
            if let Ok(remote) = Remote::connect(&home.socket()).await {
                return Ok(Self::Daemon(remote));
            }
            match Engine::open(home).await {
                Ok(engine) => return Ok(Self::Here(engine)),
                // A daemon that starts holds the store before it listens; a command that ends
                // holds it a little longer.
                Err(failure) if failure.passing && tries < TRIES_MAX => {
                    tries = tries.saturating_add(1);
                    sleep(TRY_AGAIN).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    pub(crate) async fn call<C: Call>(&mut self, call: C) -> Result<C::Returns, Failure> {
        match self {
            Self::Daemon(remote) => remote.call(call).await,
            Self::Here(engine) => Box::pin(call.run(engine)).await,
        }
    }

    /// Without a daemon: gives the nodes a moment to hand over what is new. With one nothing is new.
    pub(crate) async fn catch_up(&self) -> Result<(), Failure> {
        let Self::Here(engine) = self else { return Ok(()) };
        let mut notices = engine.notices();
        let account = engine.read(view::account).await?;
        if account.is_none_or(|account| account.locked_out) {
            return Ok(());
        }
        let quiet = async {
            loop {
                let patience =
                    if engine.links().values().any(|up| *up) { QUIET } else { CATCH_UP_MAX };
                if !matches!(timeout(patience, notices.recv()).await, Ok(Ok(_))) {
                    return;
                }
            }
        };
        // Whoever is offline sees what is there.
        let _ = timeout(CATCH_UP_MAX, quiet).await;
        Ok(())
    }

    /// Whether there is no daemon.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Tells events from now on.
    pub(crate) async fn subscribe(self, params: Subscribe) -> Result<Stream, Failure> {
        match self {
            Self::Daemon(remote) => remote.subscribe(params).await,
            Self::Here(engine) => {
                let (subscription, _) = Subscription::open(engine, params).await?;
                Ok(Stream::Here(Box::new(subscription)))
            }
        }
    }

    /// Makes everything durable and goes offline, if this process was online.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        match self {
            Self::Daemon(_) => Ok(()),
            Self::Here(engine) => engine.close().await,
        }
    }
}

impl Remote {
    pub(crate) async fn connect(socket: &Path) -> io::Result<Self> {
        let (reader, writer) = UnixStream::connect(socket).await?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer, asked: 0 })
    }

    /// Asks for something that is no method of an account.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        params: Value,
    ) -> Result<T, Failure> {
        let result = self.request(method, params).await?;
        serde_json::from_value(result).map_err(|error| broken(&error.into()))
    }

    pub(crate) async fn call<C: Call>(&mut self, call: C) -> Result<C::Returns, Failure> {
        let params = serde_json::to_value(call).map_err(|error| broken(&error.into()))?;
        let result = self.request(C::METHOD, params).await?;
        serde_json::from_value(result).map_err(|error| broken(&error.into()))
    }

    pub(crate) async fn subscribe(mut self, params: Subscribe) -> Result<Stream, Failure> {
        let params = serde_json::to_value(params).map_err(|error| broken(&error.into()))?;
        self.request(SUBSCRIBE, params).await?;
        Ok(Stream::Daemon(self))
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        self.asked = self.asked.wrapping_add(1);
        let (jsonrpc, id) = (Version::Two, Value::from(self.asked));
        let request = Request { jsonrpc, id, method: method.to_owned(), params };
        write_line(&mut self.writer, &request).await.map_err(|error| broken(&error))?;
        let line = self.line().await?;
        let response: Response =
            serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
        match response {
            Response { error: Some(error), .. } => Err(error.into()),
            Response { result, .. } => Ok(result.unwrap_or_default()),
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Failure> {
        let line = read_line(&mut self.reader, RESPONSE_MAX).await;
        line.map_err(|error| broken(&error))?
            .ok_or_else(|| broken(&io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Stream {
    /// The next event; nothing once the account is closed.
    pub(crate) async fn next(&mut self) -> Result<Option<EventShape>, Failure> {
        let remote = match self {
            Self::Daemon(remote) => remote,
            Self::Here(subscription) => return subscription.next().await,
        };
        let line = read_line(&mut remote.reader, RESPONSE_MAX).await;
        let Some(line) = line.map_err(|error| broken(&error))? else { return Ok(None) };
        let event: Notification<EventShape> =
            serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
        Ok(Some(event.params))
    }
}

fn broken(error: &io::Error) -> Failure {
    let hint = "look at what `siskin up`, or `siskin node`, says";
    Failure::io("the daemon does not answer", error).hint(hint)
}

/// Together two seconds.
const TRIES_MAX: u32 = 40;
const TRY_AGAIN: Duration = Duration::from_millis(50);
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// Longer than an answer takes from the other side of the world.
const QUIET: Duration = Duration::from_millis(500);
