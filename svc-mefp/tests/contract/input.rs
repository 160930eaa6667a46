//! Input rules of the outer request. The conformance suite tests those of the encrypted request and of all dialects.

use serde_json::json;
use stele_testkit::conformance::DialectUnderTest as _;

use crate::test_service::{ROUTES, ResponseExt as _, TestService, UNREADABLE_ENVELOPE, encrypt_text};

#[actix_web::test]
async fn a_missing_outer_field_is_named_in_a_plaintext_response() {
    let service = TestService::new().await;
    for (path, inner) in ROUTES {
        let encrypted = encrypt_text("melink", inner);
        for (present, missing) in [("encrypt", "app_from"), ("app_from", "encrypt")] {
            let body = json!({ present: if present == "encrypt" { encrypted.as_str() } else { "melink" } }).to_string();
            let response = service.post(path, "application/json", body).await;
            let expected = format!(r#"{{"result":0,"errors":{{"code":40000,"message":"缺少参数: {missing}"}}}}"#);
            assert_eq!((response.status, response.text, response.encrypted), (400, expected, false), "{path}");
        }
    }
}

#[actix_web::test]
async fn an_undecryptable_envelope_gets_a_plaintext_response() {
    let service = TestService::new().await;
    for (path, _) in ROUTES {
        let response = service.post(path, "application/json", r#"{"encrypt":"AAAA","app_from":"melink"}"#).await;
        assert_eq!(
            (response.status, response.text.as_str(), response.encrypted),
            (400, UNREADABLE_ENVELOPE, false),
            "{path}"
        );
    }
}

/// The field rules of all dialects apply inside the envelope, but JSON5 is rejected there.
#[actix_web::test]
async fn envelope_contents_follow_the_common_field_rules() {
    let service = TestService::new().await;
    for inner in [
        r#"{"Login_Name":"15068880258"}"#,
        r#"{"login_name":15068880258.0}"#,
        r#"{"login_name":1.5068880258E10}"#,
        r#"{"login_name":"15068880258","login_name":15068880258}"#,
        r#"{"LOGIN_NAME":"1","login_name":"15068880258"}"#,
    ] {
        let response = service.call_as("melink", "/auth/check/loginname", inner).await;
        assert_eq!((response.error_code(), response.encrypted), (40005, true), "{inner}");
    }
    for inner in [r#"{"login_name":"1","LOGIN_NAME":"2","login_name":"3"}"#, r#"{"Login_name":"1","LOGIN_NAME":"2"}"#] {
        let response = service.call_as("melink", "/auth/check/loginname", inner).await;
        assert_eq!((response.status_and_code(), response.encrypted), ((400, 40000), true), "{inner}");
    }
    for inner in ["{login_name:'15068880258'}", "{\"login_name\":\"15068880258\n\"}"] {
        service.call_as("melink", "/auth/check/loginname", inner).await.assert_is(400, UNREADABLE_ENVELOPE);
    }
}

#[actix_web::test]
async fn an_envelope_is_accepted_in_every_body_format() {
    let service = TestService::new().await;
    let (path, inner) = ("/auth/check/loginname", r#"{"login_name":"15068880258"}"#);
    // An envelope with a plus in its base64, which a form must escape.
    let encrypted = (0..100)
        .map(|n| encrypt_text("melink", format!("{inner}{}", " ".repeat(n))))
        .find(|encrypted| encrypted.contains('+'));
    let encrypted = encrypted.unwrap();
    let escaped = encrypted.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let wrapped = encrypted.as_bytes().chunks(20).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>();
    let parts = format!(
        "--x\r\ncontent-disposition: form-data; name=\"encrypt\"\r\n\r\n{encrypted}\r\n--x\r\n\
         content-disposition: form-data; name=\"app_from\"\r\n\r\nmelink\r\n--x--\r\n"
    );
    for (kind, body) in [
        ("application/json", json!({ "encrypt": encrypted, "app_from": "melink" }).to_string()),
        ("text/plain", json!({ "app_from": "melink", "encrypt": encrypted, "more": [1] }).to_string()),
        ("application/json", json!({ "encrypt": wrapped.join("\n"), "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": wrapped.join("\r\n") + "\r\n", "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": encrypted.trim_end_matches('='), "app_from": "melink" }).to_string()),
        ("application/json", json!({ "encrypt": encrypted, "app_from": "melink" }).to_string().replace('/', "\\/")),
        ("application/x-www-form-urlencoded", format!("encrypt={escaped}&app_from=melink")),
        ("application/x-www-form-urlencoded", format!("app_from=melink&encrypt={encrypted}")),
        ("multipart/form-data; boundary=x", parts),
        ("multipart/form-data", format!("encrypt={encrypted}&app_from=melink")),
    ] {
        let response = service.post(path, kind, body.clone()).await;
        assert_eq!((response.error_code(), response.encrypted), (40005, true), "{kind} {body}");
    }
}
