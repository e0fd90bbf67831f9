//! The local API: one table of typed methods, called in this process or as JSON-RPC 2.0 over the
//! daemon's socket. Specified in `spec/local-api.md`.

mod account;
mod contact;
mod homes;
mod message;
mod methods;
mod session;
mod shapes;
mod subscription;
mod who;

pub(crate) use account::{
    AccountCreate, AccountRecover, AccountShow, Created, Secret, StatusShow, Traffic,
};
pub(crate) use contact::{
    ContactAccept, ContactAdd, ContactInvite, ContactList, ContactRemove, ContactRename,
    ContactVerify, Invited, Verified,
};
pub(crate) use homes::{
    CostShape, HomeCopies, HomeList, HomeProofs, HomeSet, HomeShape, HomesShape, ProofShape,
};
pub(crate) use message::{
    ConversationRekey, MessageDelete, MessageEdit, MessageList, MessageReact, MessageRead,
    MessageSend, Said,
};
pub(crate) use session::{Session, call, call_caught_up};
pub(crate) use shapes::{
    AccountShape, EventShape, ItemShape, MarkShape, MessageShape, Person, StateShape,
};
pub(crate) use subscription::Subscribe;
