//! A table of methods, and what is made of one request, whatever the transport.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{
    call::Refusal,
    envelope::{NO_METHOD, Request, Response, RpcError},
};
use crate::failure::Failure;

/// What answers requests.
pub(crate) trait Service: Send + Sync + 'static {
    /// What a subscriber gets.
    type Events: Events;

    /// Calls the method of that name; `None` if there is none.
    fn call(
        &self,
        method: &str,
        params: Value,
    ) -> impl Future<Output = Option<Result<Value, Refusal>>> + Send;

    /// Opens a subscription; `None` if the service has no events. Also returns the result of the
    /// request.
    fn subscribe(
        self: &Arc<Self>,
        params: Value,
    ) -> impl Future<Output = Option<Result<(Value, Self::Events), Refusal>>> + Send;
}

/// Events for one subscriber.
pub(crate) trait Events: Send {
    /// One of them.
    type Event: Serialize + Send + Sync;

    /// Returns the next event, or nothing once there will be no more.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Event>, Failure>> + Send;
}

/// What became of a request.
pub(super) enum Answer<E> {
    Response(Response),
    /// Events follow the response.
    Subscribed(Response, E),
}

/// Answers one request.
pub(super) async fn answer<S: Service>(service: &Arc<S>, request: &[u8]) -> Answer<S::Events> {
    let Request { id, method, params, .. } = match Request::parse(request) {
        Ok(request) => request,
        Err(error) => return Answer::Response(Response::new(Value::Null, Err(error))),
    };
    let result = if method == SUBSCRIBE {
        match service.subscribe(params).await {
            Some(Ok((result, events))) => {
                return Answer::Subscribed(Response::new(id, Ok(result)), events);
            }
            Some(Err(refusal)) => Some(Err(refusal)),
            None => None,
        }
    } else {
        service.call(&method, params).await
    };
    let unknown = || RpcError::new(NO_METHOD, format!("there is no method `{method}`"));
    let result = result.ok_or_else(unknown);
    Answer::Response(Response::new(id, result.and_then(|result| result.map_err(RpcError::from))))
}

pub(super) const SUBSCRIBE: &str = "events.subscribe";
