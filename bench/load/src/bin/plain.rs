//! MeFP's 验证用户名 in plain JSON, on the product's own chassis and stores: the same call without its envelope.
//!
//! `{"app_from":…,"login_name":…}` is answered `{"result":1,"reg_app":…,"reg_time":…}`. It looks the calling app up, as
//! the dialect does, for an API without envelopes has to know its callers, too; and it does all the rest that the
//! service does around a call.

use std::process::ExitCode;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, ServiceConfig};
use serde::Serialize;
use stele_app::{Context, Service};
use stele_core::identifier::Phone;
use stele_core::time::Offset;
use stele_core::{Error, UseCases};
use stele_dialect::openapi::{About, OpenApi};
use stele_dialect::{Calls, Dialect, Failure, Fields, Refusal, Routes, json};

#[derive(Debug)]
struct Plain;

#[derive(Serialize)]
struct Known {
    result: u8,
    reg_app: String,
    reg_time: String,
}

#[derive(Serialize)]
struct No {
    result: u8,
    message: String,
}

impl Dialect for Plain {
    // One of those that metrics know.
    const NAME: &'static str = "mefp";

    fn refuse(refusal: &Refusal) -> HttpResponse {
        json(refusal.status(), &No { result: 0, message: refusal.text() })
    }

    fn fail(error: &Error) -> HttpResponse {
        json(stele_dialect::status_of(error), &No { result: 0, message: error.to_string() })
    }
}

async fn check_loginname(use_cases: Data<UseCases>, fields: Fields) -> Result<HttpResponse, Failure<Plain>> {
    let (app, name) = (fields.required("app_from")?, fields.required("login_name")?);
    use_cases.app(app).await?.0.ok_or(Error::NotAllowed)?;
    let phone = Phone::parse(name).ok_or(Error::Invalid("phone"))?;
    let user = use_cases.user_with_phone(&phone).await?.ok_or(Error::UnknownUser)?;
    let reg_time = user.registered_at.date_time(Offset::CHINA);
    Ok(json(StatusCode::OK, &Known { result: 1, reg_app: user.registered_through, reg_time }))
}

fn routes(_: &Context) -> Result<Routes, stele_service::ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| {
        config.route("/auth/check/loginname", web::post().to(check_loginname));
    }))
}

fn document() -> OpenApi {
    let about = About { title: "Plain", text: &["For measuring."], refusals: &[], more: &[], schemes: Vec::new };
    Calls::<Plain>::default().document(&about)
}

fn main() -> ExitCode {
    stele_app::serve(Service::new::<Plain>(8199, &[], routes, document))
}
