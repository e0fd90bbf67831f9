//! One device of an account: a [`Machine`](proto::Machine) that sends, takes in, orders and keeps
//! conversations, and the views that an application reads from its rows.
//!
//! ```text
//!  machine        inputs down, events up; all flow between modules on one page       view: rows
//!  conversation   account        what people say; the own record, homes, keys
//!  log            contact        one replicated log; another account
//!  link, entries                 connections, channels, back-off; what is shown
//!  step                          one input's changes
//!  rows, timers, topics          keys of rows, timers, what is awaited; with identity, ranking
//! ```
//!
//! Every input leads to one commit, and what is said to nodes leaves after it: a message is in the
//! outbox before it is sent, and in the timeline before its node hears that it has arrived.

mod account;
mod command;
mod contact;
mod conversation;
mod entries;
mod home_choice;
mod identity;
mod invite_link;
mod link;
mod log;
mod machine;
mod ranking;
mod rows;
mod step;
mod timers;
mod topics;
pub mod view;

pub use command::{Action, Command, CommandError, ContactState, DeliveryStatus, Event, Reply};
pub use conversation::TEXT_MAX;
pub use home_choice::choose_homes;
pub use invite_link::{InviteLink, InviteLinkError};
pub use link::transport_seed;
pub use log::Acked;
pub use machine::{Client, Config};
pub use ranking::ACTIVE_HOMES;
pub use rows::TimelineKey;
pub use step::Counters;

/// The layout of a device's rows, for the code that opens the store.
pub const LAYOUT: (&str, u32) = ("client", 3);
