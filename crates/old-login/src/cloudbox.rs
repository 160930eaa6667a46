//! Client of an old cloudbox server (cloudbox document, 用户登录认证接口, 运营平台登出接口). TMS shares the format.

use reqwest::Method;
use serde_json::{Map, Value};
use stele_core::client_timestamp::ClientTimestamp;
use stele_core::hex;
use stele_core::old_server::{OldProfile, OldProof, OldQuestion};
use stele_core::time::Timestamp;
use stele_core::user::Profile;
use zeroize::Zeroizing;

use crate::exchange::{OldDialect, OutboundRequest, Reply, Response, gender, text, text_or_empty};
use crate::refusal::read_refusal;

const LOGIN_PATH: &str = "api/v1/cloudbox/smarttms/auth/authsalt";
const LOGOUT_PATH: &str = "api/v1/cloudbox/smarttms/logout";

/// An old cloudbox server.
pub(crate) struct OldCloudbox;

impl OldDialect for OldCloudbox {
    fn login_request(&self, question: &OldQuestion) -> Option<OutboundRequest> {
        let OldProof::Salted(salted) = &question.proof else { return None };
        Some(salted_login(LOGIN_PATH, &question.login_name, &hex::encode(&salted.digest), salted.timestamp))
    }

    fn read_login(&self, _: &OldQuestion, response: &Response) -> Reply {
        read_login(response, |data, mut profile| {
            profile.profile.enterprise = text_or_empty(data, "enterprise");
            profile.profile.group = text_or_empty(data, "group");
            let logout = text(data, "user_token").map(|token| {
                OutboundRequest::without_body(Method::POST, LOGOUT_PATH).with_header("Authorization", token)
            });
            (profile, logout)
        })
    }
}

/// The request of a login with a proof and its timestamp.
pub(crate) fn salted_login(
    path: &'static str,
    login_name: &str,
    proof: &str,
    timestamp: ClientTimestamp,
) -> OutboundRequest {
    let (login_name, proof) = (Value::from(login_name), Value::from(proof));
    let timestamp = timestamp_json(timestamp.as_sent());
    let body = format!(r#"{{"username":{login_name},"password":{proof},"timestamp":{timestamp}}}"#);
    OutboundRequest::json(path, &Zeroizing::new(body))
}

/// The timestamp as the client sent it, because the digest is over its text: a number, or a string if it is none.
fn timestamp_json(sent: &str) -> String {
    let is_number = serde_json::from_str::<serde_json::Number>(sent).is_ok() && sent.trim() == sent;
    if is_number { sent.to_owned() } else { Value::from(sent).to_string() }
}

/// Reads the answer to a login. `complete` reads what differs between cloudbox and TMS.
pub(crate) fn read_login(
    response: &Response,
    complete: impl FnOnce(&Map<String, Value>, OldProfile) -> (OldProfile, Option<OutboundRequest>),
) -> Reply {
    let malformed = || Reply::Malformed(format!("status {} without the document's JSON", response.status.as_u16()));
    let Some(object) = response.json() else { return malformed() };
    let Some(code) = text(&object, "code") else { return malformed() };
    if code != "0000" {
        return match code.as_str() {
            // What Stele's own services mean by these codes: stale, replayed, token, too many, internal.
            "1003" | "1004" | "1005" | "1007" | "1009" => {
                Reply::Refused(format!("it refuses the login with code {code}"))
            }
            _ => read_refusal(&code, &text_or_empty(&object, "message")),
        };
    }
    let Some(Value::Object(data)) = object.get("data") else { return malformed() };
    let Some(id) = text(data, "user_id").filter(|_| response.status.is_success()) else { return malformed() };
    let (profile, logout) = complete(data, read_profile(id, data));
    Reply::Yes { profile: Box::new(profile), logout }
}

fn read_profile(id: String, data: &Map<String, Value>) -> OldProfile {
    let alias_id = text(data, "user_alias_id");
    OldProfile {
        ids: std::iter::once(id).chain(alias_id.clone()).collect(),
        name: text(data, "user_name"),
        phone: text(data, "user_phone"),
        email: text(data, "user_email"),
        registered_with: None,
        registered_at: text(data, "register_time").and_then(|at| Timestamp::parse(&at)),
        alias_id,
        profile: Profile {
            real_name: text_or_empty(data, "user_real_name"),
            gender: gender(data, "user_gender"),
            nickname: text_or_empty(data, "user_nickname"),
            avatar_url: text_or_empty(data, "avatar_url"),
            ..Profile::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::{response, to_text};
    use stele_core::proof::SaltedProof;

    /// The sample of the document.
    const SAMPLE: &str = r#"{
        "message": "Succ", "code": "0000",
        "data": {
            "user_id": "0b922f14-d00b-11e7-aafd-525400bbac8e", "user_name": "dddddd",
            "register_time": "2017-11-23T04:59:11.544126Z", "status": "", "avatar_url": "",
            "user_phone": "12312312312", "user_email": "", "user_token": "dbf15a70056b49feaa394288ea9299e3",
            "role": "user", "user_real_name": "fff", "user_gender": "男", "user_nickname": "",
            "user_alias_id": "0b9314d8d00b11e7aafd525400bbac8e",
            "enterprise": "e8d3bc38-beb0-11e7-888f-525400d25920", "group": "rentuser"
        }
    }"#;

    fn question(timestamp: &str) -> OldQuestion {
        let digest = hex::decode("00b945c1fd92aa2623b704d8d37d8ffc").unwrap();
        let proof = OldProof::Salted(SaltedProof { digest, timestamp: ClientTimestamp::parse(timestamp).unwrap() });
        OldQuestion { login_name: "te\"st".to_owned(), proof }
    }

    #[test]
    fn a_digest_is_relayed_with_the_timestamp_as_the_client_sent_it() {
        for (sent, relayed) in [
            ("1511839692", "1511839692"),
            ("1511839692.0", "1511839692.0"),
            ("1.511839692E9", "1.511839692E9"),
            (" 1511839692", "\" 1511839692\""),
            ("'1511839692'", "\"'1511839692'\""),
        ] {
            let request = OldCloudbox.login_request(&question(sent)).unwrap();
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            let expected = format!(
                r#"{{"username":"te\"st","password":"00b945c1fd92aa2623b704d8d37d8ffc","timestamp":{relayed}}}"#
            );
            assert_eq!(body, expected);
        }
    }

    #[test]
    fn the_sample_of_the_document_is_read_and_its_session_ended() {
        let Reply::Yes { profile, logout } = OldCloudbox.read_login(&question("1"), &response(200, SAMPLE)) else {
            panic!("the sample is a yes")
        };
        assert_eq!(
            profile.ids,
            ["0b922f14-d00b-11e7-aafd-525400bbac8e", "0b9314d8d00b11e7aafd525400bbac8e"].map(str::to_owned)
        );
        assert_eq!((profile.name.as_deref(), profile.phone.as_deref()), (Some("dddddd"), Some("12312312312")));
        assert_eq!(profile.email, None);
        assert_eq!((profile.profile.group.as_str(), profile.profile.real_name.as_str()), ("rentuser", "fff"));
        assert_eq!(profile.registered_at, Timestamp::parse("2017-11-23T04:59:11.544126Z"));
        assert_eq!(
            to_text(&logout.unwrap()),
            "POST api/v1/cloudbox/smarttms/logout\nAuthorization: dbf15a70056b49feaa394288ea9299e3\n\n"
        );
    }

    #[test]
    fn failures_are_read_by_code_and_message() {
        let read = |status, body: &str| match OldCloudbox.read_login(&question("1"), &response(status, body)) {
            Reply::Yes { .. } => "yes",
            Reply::No => "no",
            Reply::Challenge => "challenge",
            Reply::Refused(_) => "refused",
            Reply::Malformed(_) => "malformed",
        };
        for (status, body, expected) in [
            (200, r#"{"message":"用户名或密码错误","code":"1002","data":{}}"#, "no"),
            (401, r#"{"message":"wrong password","code":1002}"#, "no"),
            (200, r#"{"message":"x","code":"1003"}"#, "refused"),
            (200, r#"{"message":"x","code":"1004"}"#, "refused"),
            (200, r#"{"message":"token无效","code":"9"}"#, "refused"),
            (200, r#"{"message":"Succ","code":"0000","data":{}}"#, "malformed"),
            (200, r#"{"message":"Succ","code":"0000","data":[]}"#, "malformed"),
            (404, SAMPLE, "malformed"),
            (200, r#"{"message":"Succ"}"#, "malformed"),
            (200, "<html>", "malformed"),
            (404, "", "malformed"),
        ] {
            assert_eq!(read(status, body), expected, "{status} {body}");
        }
        assert_eq!(read(200, &format!("\u{feff}{SAMPLE}")), "yes");
    }
}
