//! What every dialect needs: body decoding, the [`Dialect`] trait, routes and OpenAPI from one list, and the server
//! around them.
//!
//! - [`mod@dialect`]: how a dialect renders what is refused
//! - [`input`], [`extract`]: the fields of a body, the client's address, a bearer token
//! - [`message_code`]: what cloudbox and TMS have alike
//! - [`openapi`]: what a dialect serves, as one list of which routes and document are made
//! - [`server`], `request`: what is around every request

pub mod dialect;
pub mod extract;
pub mod input;
pub mod message_code;
pub mod openapi;
mod request;
pub mod server;

pub use dialect::{Dialect, Failure, Refusal, failed, json, status_of};
pub use extract::{ClientAddress, authorization};
pub use input::{Fault, Fields};
pub use openapi::Calls;
pub use server::Routes;
