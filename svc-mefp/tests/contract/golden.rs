//! Golden transcripts. Each `NAME.http` has a `NAME.plain` with the content of its envelopes, one per line.

use std::path::Path;

use stele_testkit::conformance::DialectUnderTest as _;
use stele_testkit::{assert_golden, matches_schema};

use crate::test_service::{TestService, decrypt};

async fn assert_transcript(name: &str, settings: &[(&str, &str)]) {
    let service = TestService::with_settings(settings).await;
    service.lab.user("mark").phone("13612345678").password("hna123").add().await;
    let path = format!("tests/golden/{name}.http");
    assert_golden(&service.service, &path).await;
    let plain: String = std::fs::read_to_string(&path).unwrap().lines().filter_map(decrypt_line).collect();
    let plain_path = Path::new("tests/golden").join(name).with_extension("plain");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&plain_path, &plain).unwrap();
    }
    assert_eq!(plain, std::fs::read_to_string(&plain_path).unwrap());
    let document = serde_json::to_value((svc_mefp::SERVICE.openapi_document)()).unwrap();
    for response_text in plain.lines().filter_map(|line| line.strip_prefix("< ")) {
        let response = serde_json::from_str(response_text).unwrap();
        let matches = |name: &&str| matches_schema(&document, name, &response);
        assert_eq!(
            ["Done", "Issued", "Known", "Bearer", "No"].iter().filter(|name| matches(name)).count(),
            1,
            "{response}"
        );
    }
}

/// The content of the envelope in this line, after `>` for a request or `<` for a response.
fn decrypt_line(line: &str) -> Option<String> {
    let outer: serde_json::Value = serde_json::from_str(line).ok()?;
    let encrypted = outer["encrypt"].as_str()?;
    let direction = if outer["app_from"].is_string() { '>' } else { '<' };
    let app = outer["app_from"].as_str().unwrap_or("melink");
    Some(format!("{direction} {}\n", decrypt(app, encrypted).unwrap_or_else(|| "cannot be opened".to_owned())))
}

#[actix_web::test]
async fn login_matches_the_golden_transcript() {
    assert_transcript("login", &[]).await;
}

#[actix_web::test]
async fn register_matches_the_golden_transcript() {
    assert_transcript("register", &[]).await;
}

#[actix_web::test]
async fn a_common_password_matches_the_golden_transcript() {
    assert_transcript("common_password", &[("STELE_PASSWORD_LIST", "refuse")]).await;
}
