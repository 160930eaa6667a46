//! What every dialect needs: body decoding, the [`Dialect`] trait, routes and OpenAPI from one list, and the server
//! around them.
//!
//! - [`mod@dialect`]: how a dialect renders what is refused
//! - [`fields`], `body`: the fields of a request, whatever it is written in; [`lenient_base64`]: base64 as old clients
//!   write it
//! - [`extractors`], [`header_tokens`]: what handlers take: fields, the client's address, the header_tokens it shows
//! - [`message_code`]: what cloudbox and TMS have alike
//! - [`openapi`]: what a dialect serves, as one list of which routes and document are made
//! - [`server`], `request`: what is around every request

mod body;
pub mod dialect;
pub mod extractors;
pub mod fields;
pub mod header_tokens;
pub mod lenient_base64;
pub mod message_code;
pub mod openapi;
mod request_scope;
pub mod server;

pub use dialect::{CallError, Dialect, RequestRejection, finish_error_response, json_response, status_for_error};
pub use extractors::{ClientAddress, IgnoredBody};
pub use fields::{FieldError, Fields};
pub use header_tokens::authorization_token;
pub use openapi::Endpoints;
pub use server::Routes;
