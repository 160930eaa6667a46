//! Where a client carries its token: `Authorization`, as the document's headers have it, or `token`, as its samples do.

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use stele_dialect::token;

/// The tokens a client presents, `Authorization`'s first: `token` counts where that one is none of ours, or dead.
pub fn presented(headers: &HeaderMap) -> Vec<&str> {
    token::presented(headers, &[AUTHORIZATION.as_str(), "token"])
}
