//! What every dialect needs: body decoding, the [`Dialect`] trait, routes and OpenAPI from one list, and the server
//! around them.
//!
//! - [`mod@dialect`]: how a dialect renders what is refused
//! - [`fields`], `body`: the fields of a request, whatever it is written in; [`lenient_base64`]: base64 as old clients
//!   write it
//! - [`extract`], [`token`]: what handlers take: fields, the client's address, the token it shows
//! - [`message_code`]: what cloudbox and TMS have alike
//! - [`openapi`]: what a dialect serves, as one list of which routes and document are made
//! - [`server`], `request`: what is around every request

mod body;
pub mod dialect;
pub mod extract;
pub mod fields;
pub mod lenient_base64;
pub mod message_code;
pub mod openapi;
mod request;
pub mod server;
pub mod token;

pub use dialect::{Dialect, Failure, Refusal, failed, json, status_of};
pub use extract::{ClientAddress, IgnoredBody};
pub use fields::{Fault, Fields};
pub use openapi::Calls;
pub use server::Routes;
pub use token::authorization;
