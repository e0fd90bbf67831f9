//! Calls methods in the daemon if one runs, else in this process.

use std::{sync::Arc, time::Duration};

use client::view;
use tokio::time::{sleep, timeout};

use super::{
    subscription::{Subscribe, Subscription},
    types::Event,
};
use crate::{
    api::{Call, EventStream, Events, Remote},
    engine::Engine,
    failure::Failure,
    paths::DataDir,
};

/// Calls one method, in the daemon if one runs.
pub(crate) async fn call<C: Call<Target = Engine>>(
    dir: &DataDir,
    call: C,
) -> Result<C::Returns, Failure> {
    let mut session = Session::open(dir).await?;
    let result = session.call(call).await;
    session.close().await?;
    result
}

/// Like [`call`], after fetching what has arrived in the meantime.
pub(crate) async fn call_caught_up<C: Call<Target = Engine>>(
    dir: &DataDir,
    call: C,
) -> Result<C::Returns, Failure> {
    let mut session = Session::open(dir).await?;
    let result = match session.catch_up().await {
        Ok(()) => session.call(call).await,
        Err(failure) => Err(failure),
    };
    session.close().await?;
    result
}

/// Where methods are called.
pub(crate) enum Session {
    /// In a daemon.
    Daemon(Remote),
    /// In this process, which is online as long as this lives.
    Here(Arc<Engine>),
}

/// Events of an account.
pub(crate) enum Stream {
    Daemon(EventStream<Event>),
    Here(Box<Subscription>),
}

impl Session {
    /// Connects to the daemon of a data directory, or opens its account in this process.
    pub(crate) async fn open(dir: &DataDir) -> Result<Self, Failure> {
        let mut tries = 0_u32;
        loop {
            if let Ok(remote) = Remote::connect(&dir.socket()).await {
                return Ok(Self::Daemon(remote));
            }
            match Engine::open(dir).await {
                Ok(engine) => return Ok(Self::Here(engine)),
                // A starting daemon locks the store before it listens; an ending command unlocks it
                // last.
                Err(failure) if failure.passing && tries < TRIES_MAX => {
                    tries = tries.saturating_add(1);
                    sleep(TRY_AGAIN).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    pub(crate) async fn call<C: Call<Target = Engine>>(
        &mut self,
        call: C,
    ) -> Result<C::Returns, Failure> {
        match self {
            Self::Daemon(remote) => remote.call(call).await,
            Self::Here(engine) => Box::pin(call.run(engine)).await,
        }
    }

    /// Waits until the nodes have delivered what is new. A daemon has it already.
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
        // Offline, the rows stay as they are.
        let _ = timeout(CATCH_UP_MAX, quiet).await;
        Ok(())
    }

    /// Returns whether there is no daemon.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Subscribes to events from now on.
    pub(crate) async fn subscribe(self, params: Subscribe) -> Result<Stream, Failure> {
        match self {
            Self::Daemon(remote) => Ok(Stream::Daemon(remote.subscribe(&params).await?)),
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

impl Stream {
    /// Returns the next event, or nothing once the account is closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        match self {
            Self::Daemon(events) => events.next().await,
            Self::Here(subscription) => subscription.next().await,
        }
    }
}

/// Together two seconds.
const TRIES_MAX: u32 = 40;
const TRY_AGAIN: Duration = Duration::from_millis(50);
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
/// Longer than a round trip around the world.
const QUIET: Duration = Duration::from_millis(500);
