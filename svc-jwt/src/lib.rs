//! The JWT dialect: login for a signed token, and password reset with a verification code.
//!
//! `WIRE.md` lists the routes, quirks and error texts; `docs/PROTOCOLS.md` explains how the API document is
//! interpreted.
//!
//! - [`wire`]: request and response types
//! - [`dialect`]: error responses
//! - `account`, `captcha`: the handlers; [`captcha_image`]: rendering of captcha images
//! - `openapi`: the OpenAPI document
//! - [`presented_tokens`]: the headers in which clients send tokens

mod account;
mod captcha;
pub mod captcha_image;
pub mod dialect;
mod openapi;
pub mod presented_tokens;
pub mod wire;

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{FromRequest, Handler, Responder};
use stele_app::token_settings::{JWT_ALG, JWT_ISSUER, PUBLIC_URL};
use stele_app::{Context, Service};
use stele_dialect::openapi::OperationDescription;
use stele_dialect::{Endpoints, Routes};
use stele_jose::{KeySet, LoginTokens, key_kind};
use stele_keys::KeyKind;
use stele_service::{ConfigError, Settings};

use captcha_image::CaptchaRenderer;
pub use dialect::Jwt;

/// The JWT service, by default on port 8105.
pub const SERVICE: Service =
    Service::new::<Jwt>(8105, &[], routes, openapi::document).with_signing_keys(signing_key_kinds);

/// The state of the service that its handlers share.
pub struct DialectState {
    /// Signs and verifies tokens.
    pub tokens: LoginTokens,
    /// The public base URL, with which captcha URLs begin; empty for relative URLs.
    pub public_url: String,
    /// Renders captcha images.
    pub captcha_renderer: CaptchaRenderer,
}

/// The key kind of the configured algorithm.
fn signing_key_kinds(settings: &Settings) -> Result<Vec<KeyKind>, ConfigError> {
    Ok(vec![key_kind(settings.get(&JWT_ALG)?)])
}

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let settings = &context.settings;
    let algorithm = settings.get(&JWT_ALG)?;
    let keys = KeySet::register(&[algorithm], &context.keys)?;
    let tokens = LoginTokens::new(&keys, algorithm, &settings.get(&JWT_ISSUER)?);
    let state = Data::new(DialectState {
        tokens,
        public_url: settings.get(&PUBLIC_URL)?,
        captcha_renderer: CaptchaRenderer::start()?,
    });
    Ok(Arc::new(move |config| endpoints().configure(config.app_data(state.clone()))))
}

fn endpoints() -> Endpoints<Jwt> {
    let endpoints = Endpoints::default();
    let endpoints = add_endpoint(endpoints, Method::POST, "Login", account::login, openapi::login);
    let endpoints = add_endpoint(endpoints, Method::GET, "Logout", account::logout, openapi::logout);
    let endpoints =
        add_endpoint(endpoints, Method::POST, "ForgetPassword", account::forget_password, openapi::forget_password);
    let endpoints =
        add_endpoint(endpoints, Method::POST, "validatePhone", account::validate_phone, openapi::validate_phone);
    let endpoints =
        add_endpoint(endpoints, Method::POST, "updatePassword", account::update_password, openapi::update_password);
    let endpoints = add_endpoint(endpoints, Method::GET, "getCAPTCHA", captcha::issue, openapi::get_captcha);
    let endpoints = add_endpoint(endpoints, Method::POST, "CAPTCHA", captcha::issue_by_post, openapi::captcha);
    let image_pattern = case_insensitive_path("CAPTCHA") + "/{id}";
    endpoints.route(
        Method::GET,
        "/api/v1/Auth/CAPTCHA/{id}",
        &image_pattern,
        captcha::serve_image,
        openapi::captcha_image,
    )
}

fn add_endpoint<F, Args>(
    endpoints: Endpoints<Jwt>,
    method: Method,
    operation: &str,
    handler: F,
    describe: fn() -> OperationDescription<Jwt>,
) -> Endpoints<Jwt>
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    endpoints.route(method, &format!("/api/v1/Auth/{operation}"), &case_insensitive_path(operation), handler, describe)
}

/// The path pattern of an operation: case-insensitive, under `v1` or `vi`, since the API document has both.
fn case_insensitive_path(operation: &str) -> String {
    format!("/{{api:(?i:api)}}/{{version:(?i:v[1i])}}/{{auth:(?i:auth)}}/{{operation:(?i:{operation})}}")
}
