//! MeFP's call 验证用户名 in plain JSON instead of encrypted envelopes, on the product's own service framework and stores.
//!
//! The response to `{"app_from":…,"login_name":…}` is `{"result":1,"reg_app":…,"reg_time":…}`. Like the dialect, it
//! looks up the calling app, since an API without envelopes must identify its clients as well.

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
use stele_dialect::openapi::{ApiInfo, OpenApi};
use stele_dialect::{CallError, Dialect, Endpoints, Fields, RequestRejection, Routes, json_response};

#[derive(Debug)]
struct PlainJson;

#[derive(Serialize)]
struct FoundResponse {
    result: u8,
    reg_app: String,
    reg_time: String,
}

#[derive(Serialize)]
struct ErrorResponse {
    result: u8,
    message: String,
}

impl Dialect for PlainJson {
    // Metrics accept only the names of dialects.
    const NAME: &'static str = "mefp";

    fn render_rejection(rejection: &RequestRejection) -> HttpResponse {
        json_response(rejection.status(), &ErrorResponse { result: 0, message: rejection.chinese_text() })
    }

    fn render_error(error: &Error) -> HttpResponse {
        json_response(stele_dialect::status_for_error(error), &ErrorResponse { result: 0, message: error.to_string() })
    }
}

async fn check_loginname(use_cases: Data<UseCases>, fields: Fields) -> Result<HttpResponse, CallError<PlainJson>> {
    let (app, name) = (fields.required("app_from")?, fields.required("login_name")?);
    use_cases.find_app_with_secret(app).await?.0.ok_or(Error::NotAllowed)?;
    let phone = Phone::parse(name).ok_or(Error::Invalid("phone"))?;
    let user = use_cases.find_user_by_phone(&phone).await?.ok_or(Error::UnknownUser)?;
    let reg_time = user.registered_at.to_date_time(Offset::CHINA);
    Ok(json_response(StatusCode::OK, &FoundResponse { result: 1, reg_app: user.registered_through, reg_time }))
}

fn routes(_: &Context) -> Result<Routes, stele_service::ConfigError> {
    Ok(Arc::new(|config: &mut ServiceConfig| {
        config.route("/auth/check/loginname", web::post().to(check_loginname));
    }))
}

fn openapi_document() -> OpenApi {
    let about = ApiInfo {
        title: "Plain",
        description: &["For benchmarks."],
        error_bodies: &[],
        extra_schemas: &[],
        security_schemes: Vec::new,
    };
    Endpoints::<PlainJson>::default().openapi_document(&about)
}

fn main() -> ExitCode {
    stele_app::serve(Service::new::<PlainJson>(8199, &[], routes, openapi_document))
}
