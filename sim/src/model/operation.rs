//! What people do.

/// One thing that a person has done in a conversation, numbered from 0 within the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operation(pub(crate) u32);

/// What an operation does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Say,
    /// Replaces the text of that own message.
    Edit(Operation),
    /// Takes that own message back.
    Delete(Operation),
    /// Reacts to that message with this; with nothing takes the reaction back.
    React(Operation, String),
}
