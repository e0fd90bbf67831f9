//! The table of methods.

use serde_json::Value;

use super::{
    account::{AccountCreate, AccountRecover, AccountShow, StatusShow},
    call::Call,
    contact::{
        ContactAccept, ContactAdd, ContactInvite, ContactList, ContactRemove, ContactRename,
        ContactVerify,
    },
    homes::{HomeCopies, HomeList, HomeProofs, HomeSet},
    message::{
        ConversationRekey, ConversationTyping, MessageDelete, MessageEdit, MessageList,
        MessageReact, MessageRead, MessageSend,
    },
};
use crate::{engine::Engine, failure::Failure};

/// Calls the method of that name; nothing if there is none.
pub(crate) async fn call(
    engine: &Engine,
    method: &str,
    params: Value,
) -> Option<Result<Value, Refusal>> {
    macro_rules! table {
        ($($call:ty),+ $(,)?) => {
            match method {
                $(<$call>::METHOD => Some(run::<$call>(engine, params).await),)+
                _ => None,
            }
        };
    }
    table![
        AccountCreate,
        AccountRecover,
        AccountShow,
        ContactAccept,
        ContactAdd,
        ContactInvite,
        ContactList,
        ContactRemove,
        ContactRename,
        ContactVerify,
        HomeCopies,
        HomeList,
        HomeProofs,
        HomeSet,
        ConversationRekey,
        ConversationTyping,
        MessageDelete,
        MessageEdit,
        MessageList,
        MessageReact,
        MessageRead,
        MessageSend,
        StatusShow,
    ]
}

/// Why a method returned nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The parameters are not what it takes; said without their values.
    Params(String),
    Failed(Failure),
}

async fn run<C: Call>(engine: &Engine, params: Value) -> Result<Value, Refusal> {
    let params = if params.is_null() { Value::Object(serde_json::Map::new()) } else { params };
    let call: C =
        serde_json::from_value(params).map_err(|error| Refusal::Params(error.to_string()))?;
    let returned = Box::pin(call.run(engine)).await.map_err(Refusal::Failed)?;
    let value = serde_json::to_value(returned);
    value.map_err(|error| Refusal::Failed(Failure::user(error.to_string())))
}
