//! One device of an account: a [`Machine`](proto::Machine) that sends, takes in, orders and keeps
//! conversations, and the views that an application reads from its rows.
//!
//! ```text
//!  Command ─▶ speech ─▶ conversation (seal) ─▶ timeline + outbox ─▶ Commit, then Append ─▶ node
//!                         contact, account ─▶ link                                          │
//!  Event ◀─ timeline ◀─ conversation (open) ◀─ sync (dependencies first) ◀──── Deliver ◀────┘
//!                └─▶ rows ─▶ view
//! ```
//!
//! Every input leads to one commit, and what is said to nodes leaves after it: a message is in the
//! outbox before it is sent, and in the timeline before its node hears that it has arrived.

mod account;
mod audit;
mod command;
mod contact;
mod conversation;
mod errand;
mod homes;
mod invite_link;
mod link;
mod machine;
mod moving;
mod outbox;
mod ranking;
mod receipts;
mod schema;
mod speech;
mod standing;
mod step;
mod sync;
mod telling;
mod timeline;
mod trust;
pub mod view;
mod waiting;
mod withdraw;

pub use account::HOMES_SERVED;
pub use command::{Action, Command, CommandError, ContactState, Event, Mark, Reply};
pub use homes::choose_homes;
pub use invite_link::{InviteLink, LinkError};
pub use link::transport_seed;
pub use machine::{Client, Config, Counters};
pub use receipts::Holder;
pub use schema::Place;
pub use speech::TEXT_MAX;

/// The layout of a device's rows, for whoever opens the store.
pub const LAYOUT: (&str, u32) = ("client", 2);
