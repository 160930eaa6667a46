//! The request that a reverse proxy asks about: its description by each proxy, the access rules, and the credential. The
//! lines of the input are the host, the path with the query, `Authorization` and `Cookie`.
#![no_main]

use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use libfuzzer_sys::fuzz_target;
use stele_core::oauth::{AccessDecision, AccessRules, RequestHost};
use svc_oauth::authz::credentials::{Credential, Presented};
use svc_oauth::authz::original_request::{OriginalRequest, ProxyContract};
use svc_oauth::authz::rules;

const OTHER_TOKEN: &str = "ffffffffffffffffffffffffffffffff";

static RULES: LazyLock<AccessRules> = LazyLock::new(|| {
    let text = "[[rule]]\nhost = \"app.example.com\"\n[[rule]]\nhost = \"app.example.com\"\npath = \"/admin/\"\n";
    rules::parse("rules.toml", text).expect("valid rules")
});

/// Decodes escapes once, and leaves what is no escape.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%');
        let hex = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        decoded.push(hex.unwrap_or(byte));
        rest = if hex.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// Whether some server could take the path for one below `/admin`.
fn is_closed_in_some_reading(path: &str) -> bool {
    let once = decode(path.as_bytes());
    let twice = decode(&once);
    [path.as_bytes(), &once, &twice].into_iter().any(|reading| {
        let text = String::from_utf8_lossy(reading).replace('\\', "/");
        let cut = text.split(['?', '#', '\0']).next().unwrap_or_default();
        let mut segments: Vec<&str> = Vec::new();
        for segment in cut.split('/').map(|segment| segment.split(';').next().unwrap_or_default()) {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        segments.first() == Some(&"admin")
    })
}

fn request(target: &str, fields: &[(&'static str, String)]) -> Option<HttpRequest> {
    let mut request = TestRequest::with_uri(target);
    for (name, value) in fields {
        request = request.append_header((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
    }
    Some(request.to_http_request())
}

/// The description of a request as a proxy gives it, in one form.
fn describe(contract: ProxyContract, fields: &[(&'static str, String)]) -> Option<(RequestHost, String, String)> {
    let request = request("/authz/", fields)?;
    let original = OriginalRequest::read(contract, &request)?;
    Some((original.host, original.path.to_owned(), original.query.to_owned()))
}

fn check_credential(host: &str, target: &str, authorization: &str, cookie: &str) {
    let presented = |target: &str| {
        let fields = [
            ("x-original-url", format!("https://{host}{target}")),
            ("authorization", authorization.to_owned()),
            ("cookie", cookie.to_owned()),
        ];
        let request = request("/authz/auth-request", &fields)?;
        let original = OriginalRequest::read(ProxyContract::AuthRequest, &request)?;
        Some(match Presented::read(request.headers(), &original) {
            Presented::Nothing => "nothing".to_owned(),
            Presented::Unusable => "unusable".to_owned(),
            Presented::One(Credential::Jwt(text)) => text.into_owned(),
            Presented::One(Credential::SessionToken(token) | Credential::Cookie(token)) => token.expose().to_owned(),
        })
    };
    let Some(first) = presented(target) else { return };
    let separator = if target.contains('?') { '&' } else { '?' };
    let with_other = presented(&format!("{target}{separator}token={OTHER_TOKEN}"));
    let expected = match first.as_str() {
        "nothing" | OTHER_TOKEN => OTHER_TOKEN,
        _ => "unusable",
    };
    assert_eq!(with_other.as_deref(), Some(expected), "a second credential after {first}");
}

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (host, target, authorization, cookie) = (line(), line(), line(), line());
    let by_url = describe(ProxyContract::AuthRequest, &[("x-original-url", format!("https://{host}{target}"))]);
    let forwarded = [("x-forwarded-host", host.to_owned()), ("x-forwarded-uri", target.to_owned())];
    let by_parts = describe(ProxyContract::ForwardAuth, &forwarded);
    if let (Some(by_url), Some(by_parts)) = (&by_url, &by_parts) {
        assert_eq!(by_url, by_parts, "both proxies describe the same request");
    }
    if let Some((host, path, _)) = by_parts {
        assert_eq!(RequestHost::parse(host.as_str()), Some(host.clone()), "a host has one form");
        if let AccessDecision::ByRule(rule) = RULES.decide(&host, &path) {
            let is_admin_rule = rule.path.to_string() == "/admin";
            assert!(is_admin_rule || !is_closed_in_some_reading(&path), "{path} is open");
        }
    }
    // Otherwise a part of the host would be read as the query, to which the second credential is added.
    if RequestHost::parse(host).is_some() && target.starts_with('/') {
        check_credential(host, target, authorization, cookie);
    }
});
