//! The headers in which clients send their token: `Authorization` or `token` (`docs/PROTOCOLS.md`, JWT).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use stele_dialect::header_tokens;

/// The presented tokens, that of `Authorization` first. Try them in turn: `token` is used if the first is not valid.
pub fn tokens_from_headers(headers: &HeaderMap) -> Vec<&str> {
    header_tokens::presented_tokens(headers, &[AUTHORIZATION.as_str(), "token"])
}
