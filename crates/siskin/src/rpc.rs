//! The local API of an account: one table of typed methods, called in this process or over the
//! daemon's socket. Specified in `spec/local-api.md`.

mod account;
mod contact;
mod homes;
mod message;
mod methods;
mod resolve;
mod session;
mod subscription;
mod types;

pub(crate) use account::{AccountCreate, AccountRecover, AccountShow, Created, Secret, StatusShow};
pub(crate) use contact::{
    ContactAccept, ContactAdd, ContactInvite, ContactList, ContactRemove, ContactRename,
    ContactVerify, Invited, Verified,
};
pub(crate) use homes::{Cost, Home, HomeCopies, HomeList, HomeProofs, HomeSet, Homes, Proof};
pub(crate) use message::{
    ConversationRekey, MessageDelete, MessageEdit, MessageList, MessageReact, MessageRead,
    MessageSend, SentMessage,
};
pub(crate) use session::{Session, call, call_caught_up};
pub(crate) use subscription::Subscribe;
pub(crate) use types::{Account, Contact, ContactState, DeliveryStatus, Event, Item, Message};
