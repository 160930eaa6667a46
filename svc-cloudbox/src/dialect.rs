//! How cloudbox says no: `{"message":"…","code":"1002"}`.

use actix_web::HttpResponse;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, Refusal, message_code};

/// The cloudbox dialect.
#[derive(Debug)]
pub struct Cloudbox;

impl Dialect for Cloudbox {
    const NAME: &'static str = "cloudbox";
    const PROOFS: &'static [ProofKind] = &[ProofKind::Salted];

    fn refuse(refusal: &Refusal) -> HttpResponse {
        message_code::refuse(refusal)
    }

    fn fail(error: &Error) -> HttpResponse {
        message_code::fail(error)
    }
}
