//! Why a command failed, and what the user can do about it.

use std::{fmt, io, process::ExitCode};

use client::CommandError;
use net::{DriverError, StartError};
use serde::{Deserialize, Serialize};
use store::OpenError;

/// Why a command failed. Contains no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// A retry within two seconds may succeed.
    pub(crate) passing: bool,
}

/// The kind of a failure: exit code of the process and error code of the local API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum Kind {
    /// It is impossible in the present state.
    User = 1,
    /// An argument or a parameter is wrong.
    Usage = 2,
    /// No node answered in time.
    Network = 3,
    /// The identity of a peer is in doubt.
    Untrusted = 4,
    /// A limit is reached.
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

    /// An error of a file or a socket.
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
                failure.hint("create one with `siskin account create --node ADDRESS`")
            }
            CommandError::AccountExists => {
                failure.hint("keep a second account in another directory with `--dir DIR`")
            }
            CommandError::LockedOut => failure
                .hint("recover the account in another directory with `siskin account recover`"),
            CommandError::NoHome => failure.hint("name a node with `--node ADDRESS`"),
            CommandError::NoContact | CommandError::NoConversation => {
                failure.hint("list contacts with `siskin contact list`")
            }
            CommandError::NoMessage => {
                failure.hint("list messages and their ids with `siskin read WHO`")
            }
            CommandError::TooMany(_) => Self { kind: Kind::RateLimited, ..failure },
            CommandError::UnknownAccount => {
                failure.hint("check the words, and that `--node` names a home node of the account")
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
        // The errors of `store` end with a hint after the last semicolon.
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
