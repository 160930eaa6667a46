//! Error responses of the cloudbox dialect: `{"message":"…","code":"1002"}`.

use actix_web::HttpResponse;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, RequestRejection, message_code};

/// The cloudbox dialect.
#[derive(Debug)]
pub struct Cloudbox;

impl Dialect for Cloudbox {
    const NAME: &'static str = "cloudbox";
    const ACCEPTED_PROOFS: &'static [ProofKind] = &[ProofKind::Salted];

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        message_code::render_rejection(rejection)
    }

    fn render_error(error: &Error) -> HttpResponse {
        message_code::render_error(error)
    }
}
