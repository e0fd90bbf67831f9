//! The objects of JSON-RPC 2.0.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::call::Refusal;
use crate::failure::{Failure, Kind};

#[derive(Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) jsonrpc: Version,
    pub(super) id: Value,
    pub(super) method: String,
    #[serde(default)]
    pub(super) params: Value,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Response {
    pub(super) jsonrpc: Version,
    pub(super) id: Value,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) result: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) error: Option<RpcError>,
}

/// An event for a subscriber.
#[derive(Serialize, Deserialize)]
pub(super) struct Notification<E> {
    pub(super) jsonrpc: Version,
    pub(super) method: String,
    pub(super) params: E,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RpcError {
    pub(super) code: i32,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) data: Option<ErrorData>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ErrorData {
    kind: Kind,
    hint: Option<String>,
}

/// The text `2.0`.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) enum Version {
    #[serde(rename = "2.0")]
    Two,
}

impl Request {
    pub(super) fn parse(text: &[u8]) -> Result<Self, RpcError> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| RpcError::new(PARSE_ERROR, error.to_string()))?;
        if !value.is_object() {
            return Err(RpcError::new(INVALID_REQUEST, "a request is an object"));
        }
        serde_json::from_value(value)
            .map_err(|error| RpcError::new(INVALID_REQUEST, error.to_string()))
    }
}

impl<E> Notification<E> {
    pub(super) fn event(params: E) -> Self {
        Self { jsonrpc: Version::Two, method: EVENT.to_owned(), params }
    }
}

impl Response {
    pub(super) fn new(id: Value, result: Result<Value, RpcError>) -> Self {
        let (result, error) = match result {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Self { jsonrpc: Version::Two, id, result, error }
    }
}

impl RpcError {
    pub(super) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Params(message) => Self::new(INVALID_PARAMS, message),
            Refusal::Failed(failure) => Self {
                code: failure.kind as i32,
                message: failure.message,
                data: Some(ErrorData { kind: failure.kind, hint: failure.hint }),
            },
        }
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        let (kind, hint) = match error.data {
            Some(data) => (data.kind, data.hint),
            None => (Kind::Usage, None),
        };
        Self { kind, message: error.message, hint, passing: false }
    }
}

const EVENT: &str = "event";
const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
pub(super) const NO_METHOD: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
