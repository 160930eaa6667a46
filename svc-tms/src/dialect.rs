//! How TMS says no: `{"message":"…","code":"1002"}`.

use actix_web::HttpResponse;
use stele_core::Error;
use stele_core::proof::ProofKind;
use stele_dialect::{Dialect, Refusal, message_code};

/// The TMS dialect.
#[derive(Debug)]
pub struct Tms;

impl Dialect for Tms {
    const NAME: &'static str = "tms";
    const PROOFS: &'static [ProofKind] = &[ProofKind::Salted, ProofKind::Digest, ProofKind::Either];

    fn refuse(refusal: &Refusal) -> HttpResponse {
        message_code::refuse(refusal)
    }

    fn fail(error: &Error) -> HttpResponse {
        message_code::fail(error)
    }
}
