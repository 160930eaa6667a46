//! From an envelope to a handler and back into an envelope.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use stele_core::app::App;
use stele_core::usecase::Caller;
use stele_core::{Error, UseCases};
use stele_dialect::openapi::Description;
use stele_dialect::{Calls, Dialect as _, Failure, Fault, Fields, json};
use zeroize::Zeroizing;

use crate::dialect::{self, Mefp};
use crate::envelope::{Envelope, Key, Opened, Padding};
use crate::wire::{Outer, Reply, Sealed};

/// What a handler says: to be encrypted, whichever it is.
pub(crate) type Said = Result<Reply, Failure<Mefp>>;

/// A call that came in an envelope which could be opened.
pub(crate) struct Call {
    pub(crate) use_cases: Data<UseCases>,
    /// The app that calls.
    pub(crate) app: App,
    /// The app, as use cases and limits take it.
    pub(crate) caller: Caller,
}

/// Adds a call at `path`, served by `handler`, which is given the request that the envelope held.
pub(crate) fn add<R, H>(calls: Calls<Mefp>, path: &str, handler: H, describe: fn() -> Description<Mefp>) -> Calls<Mefp>
where
    R: for<'a> TryFrom<&'a Fields, Error = Failure<Mefp>> + 'static,
    H: AsyncFn(&Call, R) -> Said + Copy + 'static,
{
    let serve = move |use_cases: Data<UseCases>, key: Data<Key>, outer: Fields| async move {
        let (call, envelope, Opened { fields, padding }) = open(use_cases, &key, &outer).await?;
        let request = fields.map_err(Failure::from).and_then(|fields| R::try_from(&fields));
        let said = match request {
            Ok(request) => handler(&call, request).await,
            Err(failure) => Err(failure),
        };
        Ok::<_, Failure<Mefp>>(answer(&envelope, padding, said))
    };
    calls.post(path, serve, describe)
}

/// Opens the envelope in `outer`. Gives the call, what its answer is sealed with, and what was in it. An unknown app costs
/// what a known one does.
///
/// # Errors
/// Told in plain: the one error of an envelope that cannot be opened, a missing outer field, a fault of ours.
async fn open(use_cases: Data<UseCases>, key: &Key, outer: &Fields) -> Result<(Call, Envelope, Opened), Failure<Mefp>> {
    let Outer { encrypt, app_from } = Outer::try_from(outer)?;
    let (app, iv) = use_cases.app(app_from).await?;
    let envelope = Envelope::new(key.clone(), iv);
    match (app, envelope.open(encrypt)) {
        (Some(app), Some(opened)) => {
            let caller = Caller::app(Mefp::NAME, &app.name);
            Ok((Call { use_cases, app, caller }, envelope, opened))
        }
        (None, _) | (_, None) => Err(Fault::Unreadable.into()),
    }
}

/// Puts what a handler said into an envelope; status and headers stay outside.
fn answer(envelope: &Envelope, padding: Padding, said: Said) -> HttpResponse {
    let sealed = |status, reply: &Reply| sealed(envelope, padding, status, reply);
    match said {
        Ok(reply) => sealed(StatusCode::OK, &reply),
        Err(Failure::Refused(refusal)) => {
            let (status, reply) = dialect::refused(&refusal);
            sealed(status, &reply)
        }
        Err(Failure::Failed(error)) => {
            let (status, reply) = dialect::failed(&error);
            stele_dialect::failed(&error, sealed(status, &reply))
        }
        Err(Failure::Never(never, _)) => match never {},
    }
}

fn sealed(envelope: &Envelope, padding: Padding, status: StatusCode, reply: &Reply) -> HttpResponse {
    match serde_json::to_vec(reply) {
        Ok(text) => json(status, &Sealed { encrypt: envelope.seal(&Zeroizing::new(text), padding) }),
        Err(cause) => {
            let error = Error::internal(cause);
            stele_dialect::failed(&error, Mefp::fail(&error))
        }
    }
}
