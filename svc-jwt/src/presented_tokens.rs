//! Where a client sends its token: the `Authorization` or the `token` header (`docs/PROTOCOLS.md`, JWT).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use stele_dialect::header_tokens;

/// The tokens a client presents, `Authorization`'s first: `token` counts where that one is none of ours, or dead.
pub fn tokens_from_headers(headers: &HeaderMap) -> Vec<&str> {
    header_tokens::presented_tokens(headers, &[AUTHORIZATION.as_str(), "token"])
}
