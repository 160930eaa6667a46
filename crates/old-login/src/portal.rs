//! Client of an old portal server (portal document, 登录接口, 退出接口).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::SET_COOKIE;
use serde_json::{Map, Value};
use stele_core::identifier::{Email, Identifier, Phone};
use stele_core::old_server::{OldProfile, OldProof, OldQuestion};
use stele_core::user::Profile;
use zeroize::Zeroizing;

use crate::exchange::{OldDialect, OutboundRequest, Reply, Response, text, text_or_empty};

const LOGIN_PATH: &str = "i/login";
const LOGOUT_PATH: &str = "i/logout";

/// An old portal server.
pub(crate) struct OldPortal;

impl OldDialect for OldPortal {
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest> {
        let OldProof::Raw(password) = &question.proof else { return None };
        let encoded = Zeroizing::new(STANDARD.encode(password.expose()));
        Some(OutboundRequest::form(LOGIN_PATH, &[("username", &question.login_name), ("password", &encoded)]))
    }

    fn read_login(&self, question: &OldQuestion, response: &Response) -> Reply {
        let malformed = || Reply::Malformed(format!("status {} without the document's JSON", response.status.as_u16()));
        let Some(object) = response.json() else { return malformed() };
        let Some(Value::Object(status)) = object.get("status") else { return malformed() };
        match text(status, "status_code").as_deref() {
            Some("200") if response.status.is_success() => {
                let Some(Value::Object(content)) = object.get("content") else { return malformed() };
                if text(content, "id").is_none() {
                    return malformed();
                }
                let logout = session_cookies(response).map(|cookies| {
                    OutboundRequest::form(LOGOUT_PATH, &[("username", &question.login_name)])
                        .with_header("Cookie", cookies)
                });
                Reply::Yes { profile: Box::new(read_profile(content)), logout }
            }
            Some("3201" | "3202") => Reply::No,
            Some("3208") => Reply::Challenge,
            Some(code) if code.len() <= 4 && code.bytes().all(|b| b.is_ascii_digit()) => {
                Reply::Refused(format!("it refuses the login with code {code}"))
            }
            _ => malformed(),
        }
    }
}

/// The cookies that the response sets, as a `Cookie` header field; `None` if it sets none.
fn session_cookies(response: &Response) -> Option<String> {
    let pairs: Vec<_> = response
        .headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .map(str::trim)
        .collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

fn read_profile(content: &Map<String, Value>) -> OldProfile {
    let [id, gid, name, phone, email, passport] =
        ["id", "gid", "user_name", "mobile", "email", "passport"].map(|field| text(content, field));
    // The sample's `user_name` is the phone, because the user has no name.
    let is_contact = |name: &String| Phone::parse(name).is_some() || Email::parse(name).is_some();
    OldProfile {
        ids: [id, gid].into_iter().flatten().collect(),
        name: name.filter(|name| !is_contact(name) && Identifier::parse(name).is_some()),
        phone,
        email,
        registered_with: passport,
        profile: Profile {
            org_id: text_or_empty(content, "orgId"),
            memo: text_or_empty(content, "memo"),
            ..Profile::default()
        },
        ..OldProfile::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::{response, to_text};
    use stele_core::password::RawPassword;

    /// The sample of the document.
    const SAMPLE: &str = r#"{
        "status": { "status_code": "200", "status_message": "OK" },
        "content": {
            "id": "1", "user_name": "13800138000", "mobile": "13800138000", "email": "123456@qq.cpom", "user_type": 0,
            "gid": "100001", "orgId": "100001", "passport": "13800138000", "memo": ""
        }
    }"#;

    fn question() -> OldQuestion {
        let password = RawPassword::new("密 +&=码".to_owned());
        OldQuestion { login_name: "a+b@c.cn".to_owned(), proof: OldProof::Raw(password) }
    }

    #[test]
    fn the_password_is_sent_in_base64_in_a_form() {
        let request = OldPortal.login_request(&question()).unwrap();
        // `printf %s '密 +&=码' | base64`
        assert_eq!(
            to_text(&request),
            "POST i/login\nContent-Type: application/x-www-form-urlencoded\n\n\
             username=a%2Bb%40c%2Ecn&password=5a%2BGICsmPeeggQ%3D%3D"
        );
    }

    #[test]
    fn the_sample_of_the_document_is_read_and_its_session_ended() {
        let mut sample = response(200, SAMPLE);
        sample.headers.append(SET_COOKIE, "PORTAL=abc; Path=/; HttpOnly".parse().unwrap());
        sample.headers.append(SET_COOKIE, "lang=zh".parse().unwrap());
        let Reply::Yes { profile, logout } = OldPortal.read_login(&question(), &sample) else {
            panic!("the sample is a yes")
        };
        assert_eq!(profile.ids, ["1", "100001"].map(str::to_owned));
        assert_eq!((profile.name, profile.phone.as_deref()), (None, Some("13800138000")));
        assert_eq!(
            (profile.registered_with.as_deref(), profile.profile.org_id.as_str()),
            (Some("13800138000"), "100001")
        );
        assert_eq!(
            to_text(&logout.unwrap()),
            "POST i/logout\nContent-Type: application/x-www-form-urlencoded\nCookie: PORTAL=abc; lang=zh\n\n\
             username=a%2Bb%40c%2Ecn"
        );
        let Reply::Yes { logout: None, .. } = OldPortal.read_login(&question(), &response(200, SAMPLE)) else {
            panic!("without a cookie there is no session")
        };
    }

    #[test]
    fn each_code_has_its_meaning() {
        for (code, expected) in [
            ("3201", "no"),
            ("3202", "no"),
            ("3208", "challenge"),
            ("429", "refused"),
            ("500", "refused"),
            ("5x", "malformed"),
        ] {
            let body = format!(r#"{{"status":{{"status_code":"{code}","message":"x"}},"content":{{}}}}"#);
            let actual = match OldPortal.read_login(&question(), &response(200, &body)) {
                Reply::Yes { .. } => "yes",
                Reply::No => "no",
                Reply::Challenge => "challenge",
                Reply::Refused(_) => "refused",
                Reply::Malformed(_) => "malformed",
            };
            assert_eq!(actual, expected, "{code}");
        }
        for body in [
            r#"{"status":{"status_code":"200"},"content":{}}"#,
            r#"{"status":{"status_code":"200"}}"#,
            r#"{"status":"200","content":{"id":"1"}}"#,
            "[]",
        ] {
            assert!(matches!(OldPortal.read_login(&question(), &response(200, body)), Reply::Malformed(_)), "{body}");
        }
    }
}
