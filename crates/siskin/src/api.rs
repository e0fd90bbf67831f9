//! JSON-RPC 2.0 on local sockets, whatever the methods are. Specified in `spec/local-api.md`,
//! section 1.
//!
//! ```text
//!  transport (unix) ─▶ service: one request in, one response out ─▶ call: the table of methods
//! ```
//!
//! A service is a table of typed methods, such as that of an account or of a node. A transport
//! carries requests to it. A method doesn't know by which transport it was called.

mod call;
mod envelope;
mod http;
mod lines;
mod remote;
mod service;
mod unix;

pub(crate) use call::{Call, Refusal, call, call_by_name, parse};
pub(crate) use http::{HttpLimits, HttpServer};
pub(crate) use remote::{EventStream, Remote};
pub(crate) use service::{Events, Service};
pub(crate) use unix::Server;
