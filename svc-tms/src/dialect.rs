//! Error responses of the TMS dialect: `{"message":"…","code":"1002"}`.

use actix_web::HttpResponse;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, RequestRejection, message_code};

/// The TMS dialect.
#[derive(Debug)]
pub struct Tms;

impl Dialect for Tms {
    const NAME: &'static str = "tms";
    const ACCEPTED_PROOFS: &'static [ProofKind] = &[ProofKind::Salted, ProofKind::Digest, ProofKind::SaltedOrDigest];

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        message_code::render_rejection(rejection)
    }

    fn render_error(error: &Error) -> HttpResponse {
        message_code::render_error(error)
    }
}
