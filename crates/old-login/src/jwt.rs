//! Client of an old JWT server (JWT document, 登录, 登出).

use reqwest::Method;
use reqwest::header::AUTHORIZATION;
use serde_json::{Map, Value};
use stele_core::old_server::{OldProfile, OldProof, OldQuestion};
use stele_core::user::{Gender, Profile};
use zeroize::Zeroizing;

use crate::exchange::{OldDialect, OutboundRequest, Reply, Response, text, text_or_empty};
use crate::refusal::read_refusal;

const LOGIN_PATH: &str = "api/v1/Auth/Login";
const LOGOUT_PATH: &str = "api/v1/Auth/Logout";

/// An old JWT server.
pub(crate) struct OldJwt {
    /// Makes the boundary of a form: characters that a boundary may have, at random.
    pub(crate) boundary: fn() -> String,
}

impl OldDialect for OldJwt {
    /// The sample call names `multipart/form-data`.
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest> {
        let OldProof::Raw(password) = &question.proof else { return None };
        let boundary = (self.boundary)();
        let mut body = Zeroizing::new(Vec::new());
        for (name, value) in [("account", question.login_name.as_str()), ("password", password.expose())] {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            body.extend_from_slice(format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
            body.extend_from_slice(value.as_bytes());
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        Some(OutboundRequest::post(LOGIN_PATH, &format!("multipart/form-data; boundary={boundary}"), body))
    }

    fn read_login(&self, _: &OldQuestion, response: &Response) -> Reply {
        let malformed = || Reply::Malformed(format!("status {} without the document's JSON", response.status.as_u16()));
        let Some(object) = response.json() else { return malformed() };
        match text(&object, "code").as_deref() {
            Some("0") if response.status.is_success() => {
                let Some(Value::Object(user)) = object.get("user") else { return malformed() };
                if text(user, "userId").is_none() {
                    return malformed();
                }
                let logout = session_token(&object, response).map(|token| log_out(&token));
                Reply::Yes { profile: Box::new(read_profile(user)), logout }
            }
            Some("0") | None => malformed(),
            Some(code) => read_refusal(code, &text_or_empty(&object, "message")),
        }
    }
}

/// The token of the session, which the document does not place: in the `Authorization` header field, or in the body.
fn session_token(object: &Map<String, Value>, response: &Response) -> Option<Zeroizing<String>> {
    let header = response.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let value = header.map(str::to_owned).or_else(|| text(object, "token"))?;
    let token = value.strip_prefix("Bearer ").unwrap_or(&value).trim();
    (!token.is_empty()).then(|| Zeroizing::new(token.to_owned()))
}

/// The document's description has the token in `Authorization`, its sample in `token`.
fn log_out(token: &str) -> OutboundRequest {
    OutboundRequest::without_body(Method::GET, LOGOUT_PATH)
        .with_header("Authorization", format!("Bearer {token}"))
        .with_header("token", token)
}

fn read_profile(user: &Map<String, Value>) -> OldProfile {
    OldProfile {
        ids: text(user, "userId").into_iter().collect(),
        name: text(user, "account"),
        profile: Profile {
            real_name: text_or_empty(user, "realName"),
            organization: text_or_empty(user, "organizationName"),
            department: text_or_empty(user, "departmentName"),
            description: text_or_empty(user, "description"),
            avatar_url: text_or_empty(user, "avatar"),
            gender: match user.get("gender") {
                Some(Value::Bool(true)) => Some(Gender::Male),
                Some(Value::Bool(false)) => Some(Gender::Female),
                _ => None,
            },
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

    const SERVER: OldJwt = OldJwt { boundary: || "b0".to_owned() };
    /// The sample of the document.
    const SAMPLE: &str = r#"{
        "code": 0, "message": "登录成功",
        "user": {
            "userId": "7f6a", "account": "a", "realName": "r", "organizationName": "o", "departmentName": "d",
            "roleName": "管理员", "description": "", "avatar": "", "gender": true
        }
    }"#;

    fn question() -> OldQuestion {
        OldQuestion { login_name: "a".to_owned(), proof: OldProof::Raw(RawPassword::new("1\"\r\n密".to_owned())) }
    }

    #[test]
    fn the_form_is_multipart_as_in_the_sample_call() {
        assert_eq!(
            to_text(&SERVER.login_request(&question()).unwrap()),
            "POST api/v1/Auth/Login\nContent-Type: multipart/form-data; boundary=b0\n\n\
             --b0\r\nContent-Disposition: form-data; name=\"account\"\r\n\r\na\r\n\
             --b0\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n1\"\r\n密\r\n--b0--\r\n"
        );
    }

    #[test]
    fn the_sample_of_the_document_is_read_and_its_session_ended() {
        let logout_text = "GET api/v1/Auth/Logout\nAuthorization: Bearer x.y.z\ntoken: x.y.z\n\n";
        let mut in_header = response(200, SAMPLE);
        in_header.headers.insert(AUTHORIZATION, "Bearer x.y.z".parse().unwrap());
        let in_body = response(200, &SAMPLE.replacen("\"code\"", "\"token\": \"x.y.z\", \"code\"", 1));
        for answer in [in_header, in_body] {
            let Reply::Yes { profile, logout } = SERVER.read_login(&question(), &answer) else {
                panic!("the sample is a yes")
            };
            assert_eq!((profile.ids, profile.name.as_deref()), (vec!["7f6a".to_owned()], Some("a")));
            assert_eq!(profile.profile.gender, Some(Gender::Male));
            assert_eq!(to_text(&logout.unwrap()), logout_text);
        }
        let Reply::Yes { logout: None, .. } = SERVER.read_login(&question(), &response(200, SAMPLE)) else {
            panic!("without a token there is no session")
        };
    }

    #[test]
    fn a_demand_for_a_captcha_is_no_wrong_password() {
        for (body, expected) in [
            (r#"{"code":-1,"message":"账号或密码错误"}"#, "no"),
            (r#"{"code":-1,"message":"请输入验证码"}"#, "challenge"),
            (r#"{"code":"-1","message":"操作频繁"}"#, "refused"),
            (r#"{"code":0,"message":"登录成功"}"#, "malformed"),
            (r#"{"code":0,"user":{"account":"a"}}"#, "malformed"),
            (r#"{"message":"登录成功"}"#, "malformed"),
            ("", "malformed"),
        ] {
            let actual = match SERVER.read_login(&question(), &response(200, body)) {
                Reply::Yes { .. } => "yes",
                Reply::No => "no",
                Reply::Challenge => "challenge",
                Reply::Refused(_) => "refused",
                Reply::Malformed(_) => "malformed",
            };
            assert_eq!(actual, expected, "{body}");
        }
    }
}
