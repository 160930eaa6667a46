//! From an envelope to a handler and back into an envelope.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use stele_core::app::App;
use stele_core::usecase::RequestInfo;
use stele_core::{Error, UseCases};
use stele_dialect::openapi::OperationDescription;
use stele_dialect::{CallError, Dialect as _, Endpoints, FieldError, Fields, json_response};
use zeroize::Zeroizing;

use crate::dialect::{self, Mefp};
use crate::envelope::{Envelope, EnvelopeKey, OpenedEnvelope, Padding};
use crate::wire::{InnerResponse, OuterRequest, SealedResponse};

/// What a handler says: to be encrypted, whichever it is.
pub(crate) type HandlerResult = Result<InnerResponse, CallError<Mefp>>;

/// A call that came in an envelope which could be opened.
pub(crate) struct AppCall {
    pub(crate) use_cases: Data<UseCases>,
    /// The app that calls.
    pub(crate) app: App,
    /// The app, as use cases and limits take it.
    pub(crate) caller: RequestInfo,
}

/// Adds a call at `path`, served by `handler`, which is given the request that the envelope held.
pub(crate) fn add_endpoint<R, H>(
    calls: Endpoints<Mefp>,
    path: &str,
    handler: H,
    describe: fn() -> OperationDescription<Mefp>,
) -> Endpoints<Mefp>
where
    R: for<'a> TryFrom<&'a Fields, Error = CallError<Mefp>> + 'static,
    H: AsyncFn(&AppCall, R) -> HandlerResult + Copy + 'static,
{
    let serve = move |use_cases: Data<UseCases>, key: Data<EnvelopeKey>, outer: Fields| async move {
        let (call, envelope, OpenedEnvelope { fields, padding }) = open_envelope(use_cases, &key, &outer).await?;
        let request = fields.map_err(CallError::from).and_then(|fields| R::try_from(&fields));
        let said = match request {
            Ok(request) => handler(&call, request).await,
            Err(failure) => Err(failure),
        };
        Ok::<_, CallError<Mefp>>(seal_result(&envelope, padding, said))
    };
    calls.post(path, serve, describe)
}

/// Opens the envelope in `outer`. Gives the call, what its answer is sealed with, and what was in it. An unknown app costs
/// what a known one does.
///
/// # Errors
/// Told in plain: the one error of an envelope that cannot be opened, a missing outer field, a fault of ours.
async fn open_envelope(
    use_cases: Data<UseCases>,
    key: &EnvelopeKey,
    outer: &Fields,
) -> Result<(AppCall, Envelope, OpenedEnvelope), CallError<Mefp>> {
    let OuterRequest { encrypt, app_from } = OuterRequest::try_from(outer)?;
    let (app, iv) = use_cases.find_app_with_secret(app_from).await?;
    let envelope = Envelope::new(key.clone(), iv);
    match (app, envelope.open(encrypt)) {
        (Some(app), Some(opened)) => {
            let caller = RequestInfo::from_app(Mefp::NAME, &app.name);
            Ok((AppCall { use_cases, app, caller }, envelope, opened))
        }
        (None, _) | (_, None) => Err(FieldError::MalformedBody.into()),
    }
}

/// Puts what a handler said into an envelope; status and headers stay outside.
fn seal_result(envelope: &Envelope, padding: Padding, said: HandlerResult) -> HttpResponse {
    let sealed = |status, reply: &InnerResponse| sealed_response(envelope, padding, status, reply);
    match said {
        Ok(reply) => sealed(StatusCode::OK, &reply),
        Err(CallError::Rejected(refusal)) => {
            let (status, reply) = dialect::rejection_response(&refusal);
            sealed(status, &reply)
        }
        Err(CallError::Domain(error)) => {
            let (status, reply) = dialect::error_response(&error);
            stele_dialect::finish_error_response(&error, sealed(status, &reply))
        }
        Err(CallError::Never(never, _)) => match never {},
    }
}

fn sealed_response(envelope: &Envelope, padding: Padding, status: StatusCode, reply: &InnerResponse) -> HttpResponse {
    match serde_json::to_vec(reply) {
        Ok(text) => json_response(status, &SealedResponse { encrypt: envelope.seal(&Zeroizing::new(text), padding) }),
        Err(cause) => {
            let error = Error::internal(cause);
            stele_dialect::finish_error_response(&error, Mefp::render_error(&error))
        }
    }
}
