//! Wraps the handlers: decrypts the envelope of a request, calls the handler, and encrypts the handler's response.

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
use crate::envelope::{DecryptedEnvelope, EnvelopeCipher, EnvelopeKey, Padding};
use crate::wire::{EncryptedResponse, InnerResponse, OuterRequest};

/// The result of a handler. Success and error are both encrypted.
pub(crate) type HandlerResult = Result<InnerResponse, CallError<Mefp>>;

/// The app that sent a decrypted request, and the use cases that the handler calls for it.
pub(crate) struct AppRequest {
    pub(crate) use_cases: Data<UseCases>,
    /// The calling app.
    pub(crate) app: App,
    /// The calling app as audit log and rate limits identify it.
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
    H: AsyncFn(&AppRequest, R) -> HandlerResult + Copy + 'static,
{
    let wrapped_handler = move |use_cases: Data<UseCases>, key: Data<EnvelopeKey>, outer: Fields| async move {
        let (app_request, cipher, DecryptedEnvelope { fields, padding }) =
            decrypt_envelope(use_cases, &key, &outer).await?;
        let request = fields.map_err(CallError::from).and_then(|fields| R::try_from(&fields));
        let result = match request {
            Ok(request) => handler(&app_request, request).await,
            Err(error) => Err(error),
        };
        Ok::<_, CallError<Mefp>>(encrypt_result(&cipher, padding, result))
    };
    endpoints.post(path, wrapped_handler, describe)
}

/// Decrypts the envelope in `outer`. Returns the calling app, the cipher for the response, and the decrypted
/// content. An unknown app costs the same work as a known one.
///
/// # Errors
/// Rendered as plaintext: [`FieldError::MalformedRequest`] if the app is unknown or its envelope cannot be decrypted, another
/// [`FieldError`] if an outer field is missing, or a server error.
async fn decrypt_envelope(
    use_cases: Data<UseCases>,
    key: &EnvelopeKey,
    outer: &Fields,
) -> Result<(AppRequest, EnvelopeCipher, DecryptedEnvelope), CallError<Mefp>> {
    let OuterRequest { encrypt, app_from } = OuterRequest::try_from(outer)?;
    let (app, iv) = use_cases.find_app_with_secret(app_from).await?;
    let cipher = EnvelopeCipher::new(key.clone(), iv);
    match (app, cipher.decrypt(encrypt)) {
        (Some(app), Some(decrypted)) => {
            let caller = RequestInfo::from_app(Mefp::NAME, &app.name);
            Ok((AppRequest { use_cases, app, caller }, cipher, decrypted))
        }
        (None, _) | (_, None) => Err(FieldError::MalformedRequest.into()),
    }
}

/// Encrypts a handler's result; HTTP status and headers remain readable.
fn encrypt_result(cipher: &EnvelopeCipher, padding: Padding, result: HandlerResult) -> HttpResponse {
    let encrypt = |status, response: &InnerResponse| encrypt_response(cipher, padding, status, response);
    match result {
        Ok(response) => encrypt(StatusCode::OK, &response),
        Err(CallError::Rejected(rejection)) => {
            let (status, response) = dialect::rejection_response(&rejection);
            encrypt(status, &response)
        }
        Err(CallError::Domain(error)) => {
            let (status, response) = dialect::error_response(&error);
            stele_dialect::finish_error_response(&error, encrypt(status, &response))
        }
        Err(CallError::Never(never, _)) => match never {},
    }
}

fn encrypt_response(
    cipher: &EnvelopeCipher,
    padding: Padding,
    status: StatusCode,
    response: &InnerResponse,
) -> HttpResponse {
    match serde_json::to_vec(response) {
        Ok(json) => {
            json_response(status, &EncryptedResponse { encrypt: cipher.encrypt(&Zeroizing::new(json), padding) })
        }
        Err(cause) => {
            let error = Error::internal(cause);
            stele_dialect::finish_error_response(&error, Mefp::render_error(&error))
        }
    }
}
