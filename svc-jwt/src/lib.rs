//! The JWT dialect (Auth 认证接口): logging in for a signed token, and resetting a forgotten password by a code.
//!
//! `WIRE.md` beside this crate has its routes, its quirks and its errors; `docs/PROTOCOLS.md` says how its API document
//! is read.
//!
//! - [`wire`]: what clients send and are answered, and nothing else
//! - [`dialect`]: how this dialect says no
//! - `account`, `captcha`: the handlers; [`picture`]: how a captcha is drawn
//! - `openapi`: what is told of all this to people and programs
//! - [`keys`], [`tokens`], [`bearer`]: signing keys, the tokens they sign, and where clients carry them

mod account;
pub mod bearer;
mod captcha;
pub mod dialect;
pub mod keys;
mod openapi;
pub mod picture;
pub mod tokens;
pub mod wire;

use std::sync::Arc;

use actix_web::http::{Method, Uri};
use actix_web::web::Data;
use actix_web::{FromRequest, Handler, Responder};
use stele_app::{Context, Service};
use stele_dialect::openapi::Description;
use stele_dialect::{Calls, Routes};
use stele_service::ConfigError;
use stele_service::setting::parsed;

pub use dialect::Jwt;
use keys::Algorithm;
use picture::Painter;
use tokens::Tokens;

/// The service.
pub const SERVICE: Service = Service::new::<Jwt>(8105, SETTINGS, routes, openapi::document).signing_by(keys::signing);

stele_service::settings! {
    /// What this dialect reads beside the settings that all share.
    pub const SETTINGS = "STELE_";
    /// how tokens are signed
    pub JWT_ALG: Algorithm = parsed(Algorithm::parse, "EdDSA or RS256", "EdDSA");
    /// the issuer that tokens name
    JWT_ISSUER: String = parsed(issuer, "a text", "stele");
    /// where clients reach us: the start of a captcha's URL
    PUBLIC_URL: String = parsed(public_url, "such as https://auth.example.com", "");
}

/// What the settings make of this service.
pub struct Setup {
    /// Signs and verifies tokens.
    pub tokens: Tokens,
    /// What a captcha's URL begins with; empty if clients are to complete it.
    pub public_url: String,
    /// Draws captchas.
    pub painter: Painter,
}

/// The longest `STELE_JWT_ISSUER`: it is in every token.
const LONGEST_ISSUER: usize = 256;

fn routes(context: &Context) -> Result<Routes, ConfigError> {
    let settings = &context.settings;
    let signing = Arc::new(keys::Keys::none(keys::algorithm(settings)?));
    context.keys.attach(signing.clone())?;
    let tokens = Tokens::new(signing, &settings.get(&JWT_ISSUER)?);
    let setup = Data::new(Setup { tokens, public_url: settings.get(&PUBLIC_URL)?, painter: Painter::start()? });
    Ok(Arc::new(move |config| calls().serve(config.app_data(setup.clone()))))
}

fn calls() -> Calls<Jwt> {
    let calls = Calls::default();
    let calls = add(calls, Method::POST, "Login", account::login, openapi::login);
    let calls = add(calls, Method::GET, "Logout", account::logout, openapi::logout);
    let calls = add(calls, Method::POST, "ForgetPassword", account::forget_password, openapi::forget_password);
    let calls = add(calls, Method::POST, "validatePhone", account::validate_phone, openapi::validate_phone);
    let calls = add(calls, Method::POST, "updatePassword", account::update_password, openapi::update_password);
    let calls = add(calls, Method::GET, "getCAPTCHA", captcha::issue, openapi::get_captcha);
    let calls = add(calls, Method::POST, "CAPTCHA", captcha::issue_by_post, openapi::captcha);
    let picture = path("CAPTCHA") + "/{id}";
    calls.at(Method::GET, "/api/v1/Auth/CAPTCHA/{id}", &picture, captcha::picture, openapi::picture)
}

fn add<F, Args>(
    calls: Calls<Jwt>,
    method: Method,
    operation: &str,
    handler: F,
    describe: fn() -> Description<Jwt>,
) -> Calls<Jwt>
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    calls.at(method, &format!("/api/v1/Auth/{operation}"), &path(operation), handler, describe)
}

/// The path of an operation: in any letter case, and under `v1` or `vi`: `docs/PROTOCOLS.md`, JWT.
fn path(operation: &str) -> String {
    format!("/{{api:(?i:api)}}/{{version:(?i:v[1i])}}/{{auth:(?i:auth)}}/{{operation:(?i:{operation})}}")
}

fn issuer(text: &str) -> Result<String, String> {
    let short = text.len() <= LONGEST_ISSUER;
    short.then(|| text.to_owned()).ok_or_else(|| format!("longer than {LONGEST_ISSUER} bytes"))
}

fn public_url(text: &str) -> Result<String, String> {
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

    fn url(text: &str) -> Result<String, ConfigError> {
        Settings::default().with([("STELE_PUBLIC_URL", text.to_owned())]).get(&PUBLIC_URL)
    }

    #[test]
    fn an_issuer_is_checked() {
        let set = |text: &str| Settings::default().with([("STELE_JWT_ISSUER", text.to_owned())]).get(&JWT_ISSUER);
        assert_eq!(set(""), Ok("stele".to_owned()));
        assert_eq!(set("https://auth.example.com"), Ok("https://auth.example.com".to_owned()));
        assert!(set(&"x".repeat(257)).err().unwrap().to_string().contains("STELE_JWT_ISSUER"));
    }

    #[test]
    fn a_public_url_is_checked() {
        assert_eq!(url(""), Ok(String::new()));
        assert_eq!(url("https://auth.example.com/"), Ok("https://auth.example.com".to_owned()));
        assert_eq!(url("http://10.0.0.1:8080/base"), Ok("http://10.0.0.1:8080/base".to_owned()));
        for bad in
            ["auth.example.com", "ftp://a", "https://", "https://a?b", "https://a#b", "https://a@b", "//a", "a b"]
        {
            let error = url(bad).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(error.contains("STELE_PUBLIC_URL"), "{bad}: {error}");
        }
    }
}
