//! Where a client sends its token: the `Authorization` or the `token` header (`docs/PROTOCOLS.md`, JWT).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use stele_dialect::token;

/// The tokens a client presents, `Authorization`'s first: `token` counts where that one is none of ours, or dead.
pub fn presented(headers: &HeaderMap) -> Vec<&str> {
    token::presented(headers, &[AUTHORIZATION.as_str(), "token"])
}
