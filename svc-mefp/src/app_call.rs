//! Wraps the handlers: opens the envelope of a request, calls the handler, and seals its response.

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

/// The result of a handler. Success and error are both sealed.
pub(crate) type HandlerResult = Result<InnerResponse, CallError<Mefp>>;

/// A request whose envelope has been opened, and the app that sent it.
pub(crate) struct AppCall {
    pub(crate) use_cases: Data<UseCases>,
    /// The calling app.
    pub(crate) app: App,
    /// The calling app, for use cases and rate limits.
    pub(crate) caller: RequestInfo,
}

/// Adds an endpoint at `path` whose `handler` receives the request inside the envelope.
pub(crate) fn add_endpoint<R, H>(
    endpoints: Endpoints<Mefp>,
    path: &str,
    handler: H,
    describe: fn() -> OperationDescription<Mefp>,
) -> Endpoints<Mefp>
where
    R: for<'a> TryFrom<&'a Fields, Error = CallError<Mefp>> + 'static,
    H: AsyncFn(&AppCall, R) -> HandlerResult + Copy + 'static,
{
    let sealed_handler = move |use_cases: Data<UseCases>, key: Data<EnvelopeKey>, outer: Fields| async move {
        let (call, envelope, OpenedEnvelope { fields, padding }) = open_envelope(use_cases, &key, &outer).await?;
        let request = fields.map_err(CallError::from).and_then(|fields| R::try_from(&fields));
        let result = match request {
            Ok(request) => handler(&call, request).await,
            Err(error) => Err(error),
        };
        Ok::<_, CallError<Mefp>>(seal_result(&envelope, padding, result))
    };
    endpoints.post(path, sealed_handler, describe)
}

/// Opens the envelope in `outer`. Returns the call, the envelope that seals its response, and the opened content. An unknown
/// app costs the same work as a known one.
///
/// # Errors
/// Rendered unsealed: [`FieldError::MalformedRequest`] if the envelope cannot be opened, a missing outer field, or a server
/// error.
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
        (None, _) | (_, None) => Err(FieldError::MalformedRequest.into()),
    }
}

/// Seals a handler's result; HTTP status and headers are not sealed.
fn seal_result(envelope: &Envelope, padding: Padding, result: HandlerResult) -> HttpResponse {
    let sealed = |status, response: &InnerResponse| sealed_response(envelope, padding, status, response);
    match result {
        Ok(response) => sealed(StatusCode::OK, &response),
        Err(CallError::Rejected(rejection)) => {
            let (status, response) = dialect::rejection_response(&rejection);
            sealed(status, &response)
        }
        Err(CallError::Domain(error)) => {
            let (status, response) = dialect::error_response(&error);
            stele_dialect::finish_error_response(&error, sealed(status, &response))
        }
        Err(CallError::Never(never, _)) => match never {},
    }
}

fn sealed_response(
    envelope: &Envelope,
    padding: Padding,
    status: StatusCode,
    response: &InnerResponse,
) -> HttpResponse {
    match serde_json::to_vec(response) {
        Ok(text) => json_response(status, &SealedResponse { encrypt: envelope.seal(&Zeroizing::new(text), padding) }),
        Err(cause) => {
            let error = Error::internal(cause);
            stele_dialect::finish_error_response(&error, Mefp::render_error(&error))
        }
    }
}
