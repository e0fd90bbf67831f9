//! The table of methods.

use std::sync::Arc;

use serde_json::Value;

use super::{
    account::{AccountCreate, AccountRecover, AccountShow, StatusShow},
    contact::{
        ContactAccept, ContactAdd, ContactInvite, ContactList, ContactRemove, ContactRename,
        ContactVerify,
    },
    homes::{HomeCopies, HomeList, HomeProofs, HomeSet},
    message::{
        ConversationRekey, ConversationTyping, MessageDelete, MessageEdit, MessageList,
        MessageReact, MessageRead, MessageSend,
    },
    subscription::Subscription,
};
use crate::{
    api::{self, Call, Refusal, Service, call_by_name},
    engine::Engine,
    failure::Failure,
};

impl Service for Engine {
    type Events = Subscription;

    async fn call(&self, method: &str, params: Value) -> Option<Result<Value, Refusal>> {
        call_by_name!(
            self,
            method,
            params,
            [
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
        )
    }

    async fn subscribe(
        self: &Arc<Self>,
        params: Value,
    ) -> Option<Result<(Value, Subscription), Refusal>> {
        let open = async {
            let params = api::parse(params)?;
            let opened = Subscription::open(Arc::clone(self), params).await;
            let (subscription, subscribed) = opened.map_err(Refusal::Failed)?;
            let subscribed = serde_json::to_value(subscribed);
            let failed = |error: serde_json::Error| Failure::user(error.to_string());
            Ok((subscribed.map_err(failed).map_err(Refusal::Failed)?, subscription))
        };
        Some(open.await)
    }
}
