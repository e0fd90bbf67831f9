//! Why a command could not do what it was asked, and what to do about it.

use std::{fmt, io, process::ExitCode};

use client::CommandError;
use net::{DriverError, StartError};
use serde::{Deserialize, Serialize};
use store::OpenError;

/// A command failed; nothing is said twice and nothing secret is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// It may be over in a moment.
    pub(crate) passing: bool,
}

/// What sort of failure it is: the exit code of the process and the error code of the local API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Kind {
    /// It can't be done as things are.
    User = 1,
    /// It was asked wrongly.
    Usage = 2,
    /// A node could not be reached in time.
    Network = 3,
    /// Somebody may not be who they say.
    Untrusted = 4,
    /// Too much was asked in too short a time.
    RateLimited = 5,
    /// The store is in use or can't be opened.
    Locked = 6,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, passing: false }
    }

    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self::new(Kind::User, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn network(message: impl Into<String>) -> Self {
        Self::new(Kind::Network, message)
    }

    /// A file or socket could not be used.
    pub(crate) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::user(format!("{what}: {error}"))
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let failure = Self::user(error.to_string());
        match error {
            CommandError::NoAccount => {
                failure.hint("`siskin account create --node ADDRESS` makes one")
            }
            CommandError::AccountExists => failure.hint("`--dir DIR` keeps a second one apart"),
            CommandError::LockedOut => {
                failure.hint("bring the account back elsewhere with `siskin account recover`")
            }
            CommandError::NoHome => failure.hint("name a node with `--node ADDRESS`"),
            CommandError::NoContact => failure.hint("`siskin contact list` shows who there is"),
            CommandError::NoMessage => failure.hint("`siskin read WHO` shows messages and ids"),
            CommandError::TooMany(_) => Self { kind: Kind::RateLimited, ..failure },
            CommandError::UnknownAccount => {
                failure.hint("check the words, and that --node names a home node of the account")
            }
            CommandError::Yourself
            | CommandError::NoRequest
            | CommandError::NotAccepted
            | CommandError::NotYours
            | CommandError::Empty
            | CommandError::TooLong(_)
            | CommandError::BadRequest(_)
            | CommandError::HomeRefused(_) => failure,
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let message = error.to_string();
        // The store's errors end with what to do, behind the last semicolon.
        let (message, hint) = match message.rsplit_once("; ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (message, None),
        };
        let kind = match error {
            OpenError::InUse { .. }
            | OpenError::Newer { .. }
            | OpenError::Older { .. }
            | OpenError::WrongKey { .. } => Kind::Locked,
            OpenError::Foreign { .. } | OpenError::Io { .. } | OpenError::Damaged { .. } => {
                Kind::User
            }
        };
        let passing = matches!(error, OpenError::InUse { .. });
        Self { kind, message, hint, passing }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let failure = Self::user(error.to_string());
        match error {
            StartError::Bind(..) => {
                failure.hint("another program may use the port; choose one with --listen")
            }
            StartError::Open(proto::OpenError::Newer { .. }) => {
                Self { kind: Kind::Locked, ..failure }.hint("install the newer version")
            }
            StartError::Open(_)
            | StartError::NoIdentity
            | StartError::Tls(_)
            | StartError::System(_) => failure,
        }
    }
}

impl From<DriverError> for Failure {
    fn from(error: DriverError) -> Self {
        Self::user(error.to_string())
    }
}
