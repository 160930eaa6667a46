//! The JWT dialect (`dialects/jwt.md`): logging in for a signed token, and getting a forgotten password back by a
//! code. `WIRE.md` beside this crate has its routes, its quirks and its errors.
//!
//! - [`wire`]: what clients send and are answered, and nothing else
//! - [`dialect`]: how this dialect says no
//! - `account`, `captcha`: the handlers; [`captcha_image`]: how a captcha is drawn
//! - `openapi`: what is told of all this to people and programs
//! - [`keys`], [`tokens`], [`presented_tokens`]: signing keys, the tokens they sign, and where clients carry them

mod account;
mod captcha;
pub mod captcha_image;
pub mod dialect;
pub mod keys;
mod openapi;
pub mod presented_tokens;
pub mod tokens;
pub mod wire;

use std::sync::Arc;

use actix_web::http::{Method, Uri};
use actix_web::web::Data;
use actix_web::{FromRequest, Handler, Responder};
use stele_app::{Context, Service};
use stele_dialect::openapi::OperationDescription;
use stele_dialect::{Endpoints, Routes};
use stele_service::ConfigError;
use stele_service::setting::parsed;

use captcha_image::CaptchaRenderer;
pub use dialect::Jwt;
use keys::Algorithm;
use tokens::TokenManager;

/// The service.
pub const SERVICE: Service =
    Service::new::<Jwt>(8105, SETTINGS, routes, openapi::document).with_signing_keys(keys::signing_key_kind);

stele_service::settings! {
    /// What this dialect reads beside the settings that all share.
    pub const SETTINGS = "STELE_";
    /// how tokens are signed
    pub JWT_ALG: Algorithm = parsed(Algorithm::parse, "EdDSA or RS256", "EdDSA");
    /// the issuer that tokens name
    JWT_ISSUER: String = parsed(parse_issuer, "a text", "stele");
    /// where clients reach us: the start of a captcha's URL
    PUBLIC_URL: String = parsed(parse_public_url, "such as https://auth.example.com", "");
}

/// What the settings make of this service.
pub struct DialectState {
    /// Signs and verifies tokens.
    pub tokens: TokenManager,
    /// What a captcha's URL begins with; empty if clients are to complete it.
    pub public_url: String,
    /// Draws captchas.
    pub captcha_renderer: CaptchaRenderer,
}

/// The longest `STELE_JWT_ISSUER`: it is in every token.
const MAX_ISSUER_BYTES: usize = 256;

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let settings = &context.settings;
    let signing = Arc::new(keys::SigningKeys::empty(keys::configured_algorithm(settings)?));
    context.keys.register_consumer(signing.clone())?;
    let tokens = TokenManager::new(signing, &settings.get(&JWT_ISSUER)?);
    let setup = Data::new(DialectState {
        tokens,
        public_url: settings.get(&PUBLIC_URL)?,
        captcha_renderer: CaptchaRenderer::start()?,
    });
    Ok(Arc::new(move |config| endpoints().configure(config.app_data(setup.clone()))))
}

fn endpoints() -> Endpoints<Jwt> {
    let calls = Endpoints::default();
    let calls = add_endpoint(calls, Method::POST, "Login", account::login, openapi::login);
    let calls = add_endpoint(calls, Method::GET, "Logout", account::logout, openapi::logout);
    let calls = add_endpoint(calls, Method::POST, "ForgetPassword", account::forget_password, openapi::forget_password);
    let calls = add_endpoint(calls, Method::POST, "validatePhone", account::validate_phone, openapi::validate_phone);
    let calls = add_endpoint(calls, Method::POST, "updatePassword", account::update_password, openapi::update_password);
    let calls = add_endpoint(calls, Method::GET, "getCAPTCHA", captcha::issue, openapi::get_captcha);
    let calls = add_endpoint(calls, Method::POST, "CAPTCHA", captcha::issue_by_post, openapi::captcha);
    let picture = case_insensitive_path("CAPTCHA") + "/{id}";
    calls.route(Method::GET, "/api/v1/Auth/CAPTCHA/{id}", &picture, captcha::image, openapi::captcha_image)
}

fn add_endpoint<F, Args>(
    calls: Endpoints<Jwt>,
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
    calls.route(method, &format!("/api/v1/Auth/{operation}"), &case_insensitive_path(operation), handler, describe)
}

/// The path of an operation: in any letter case, and under `v1` or `vi`, for the document writes both.
fn case_insensitive_path(operation: &str) -> String {
    format!("/{{api:(?i:api)}}/{{version:(?i:v[1i])}}/{{auth:(?i:auth)}}/{{operation:(?i:{operation})}}")
}

fn parse_issuer(text: &str) -> Result<String, String> {
    let short = text.len() <= MAX_ISSUER_BYTES;
    short.then(|| text.to_owned()).ok_or_else(|| format!("longer than {MAX_ISSUER_BYTES} bytes"))
}

fn parse_public_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = text.trim_end_matches('/');
    let uri: Option<Uri> = url.parse().ok();
    let web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty()) && !url.contains(['?', '#', '@']);
    let good = uri.is_some_and(|uri| web(&uri) && plain(&uri));
    good.then(|| url.to_owned()).ok_or_else(|| format!("`{text}` is no address such as https://auth.example.com"))
}

#[cfg(test)]
mod tests {
    use stele_service::Settings;

    use super::*;

    fn parsed_public_url(text: &str) -> Result<String, ConfigError> {
        Settings::default().with_values([("STELE_PUBLIC_URL", text.to_owned())]).get(&PUBLIC_URL)
    }

    #[test]
    fn an_overlong_issuer_is_rejected() {
        let set =
            |text: &str| Settings::default().with_values([("STELE_JWT_ISSUER", text.to_owned())]).get(&JWT_ISSUER);
        assert_eq!(set(""), Ok("stele".to_owned()));
        assert_eq!(set("https://auth.example.com"), Ok("https://auth.example.com".to_owned()));
        assert!(set(&"x".repeat(257)).err().unwrap().to_string().contains("STELE_JWT_ISSUER"));
    }

    #[test]
    fn an_invalid_public_url_is_rejected() {
        assert_eq!(parsed_public_url(""), Ok(String::new()));
        assert_eq!(parsed_public_url("https://auth.example.com/"), Ok("https://auth.example.com".to_owned()));
        assert_eq!(parsed_public_url("http://10.0.0.1:8080/base"), Ok("http://10.0.0.1:8080/base".to_owned()));
        for bad in
            ["auth.example.com", "ftp://a", "https://", "https://a?b", "https://a#b", "https://a@b", "//a", "a b"]
        {
            let error = parsed_public_url(bad).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("STELE_PUBLIC_URL"), "{bad}: {error}");
        }
    }
}
