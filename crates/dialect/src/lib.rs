//! Shared code of the dialects: request body parsing, error responses, endpoints with their OpenAPI document, and the
//! HTTP server that runs them.
//!
//! - [`mod@dialect`]: the [`Dialect`] trait: error responses in the dialect's format
//! - [`fields`], `body`: request fields from JSON, forms and multipart; [`lenient_base64`]: base64 as old clients
//!   write it
//! - [`extractors`], [`header_tokens`]: actix extractors for fields and the client address; bearer tokens in headers
//! - [`message_code`]: the response format that cloudbox and TMS share
//! - [`openapi`]: the list of a dialect's endpoints, which yields both its routes and its OpenAPI document
//! - [`server`], `resource`, `request_scope`: the HTTP server and its middleware; routes; request id, log span and trace
//!   span

mod body;
pub mod dialect;
pub mod extractors;
pub mod fields;
pub mod header_tokens;
pub mod lenient_base64;
pub mod message_code;
pub mod openapi;
mod request_scope;
mod resource;
pub mod server;

pub use dialect::{CallError, Dialect, RequestRejection, finish_error_response, json_response, status_for_error};
pub use extractors::{ClientAddress, IgnoredBody, RawBody};
pub use fields::{FieldError, Fields};
pub use header_tokens::authorization_token;
pub use openapi::Endpoints;
pub use resource::internal_resource;
pub use server::Routes;
