//! Parsing and rendering of the API document's samples and their variations.

use std::borrow::Cow;

use proptest::prelude::*;
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::user::{self, Gender, LegacyIds, Profile, Role, UserId};

use super::*;

const ID: &str = "0b922f14-d00b-11e7-aafd-525400bbac8e";
const DIGEST: &str = "00b945c1fd92aa2623b704d8d37d8ffc";
const NEW_DIGEST: &str = "199db40c253bdc3875400e8ac67b9e21";

fn parse_fields(json: &str) -> Fields {
    Fields::from_json(json.as_bytes()).unwrap()
}

fn parse_login(json: &str) -> Result<(String, SaltedProof), FieldError> {
    LoginRequest::try_from(&parse_fields(json)).map(|login| (login.username.to_owned(), login.proof))
}

#[test]
fn the_documented_requests_are_parsed() {
    let sample = format!(r#"{{ "username": "test", "password":"{DIGEST}", "timestamp":1511839692 }}"#);
    let salted = SaltedProof { digest: hex::decode(DIGEST).unwrap(), timestamp: 1_511_839_692.into() };
    assert_eq!(parse_login(&sample), Ok(("test".to_owned(), salted)));

    let sample = format!(
        r#"{{ "user_id": "{ID}", "orig_password":"{DIGEST}", "new_password":"{NEW_DIGEST}", "timestamp":1511839692 }}"#
    );
    let request = PwdResetRequest::try_from(&parse_fields(&sample)).unwrap();
    assert_eq!((request.user_id, request.proof), (UserId::parse(ID).unwrap().into(), salted));
}

#[test]
fn the_documented_response_is_reproduced() {
    let user = test_user(UserId::parse(ID).unwrap());
    let session = test_session(&user);
    let token = Token::parse("dbf15a70056b49feaa394288ea9299e3").unwrap();
    let expected = concat!(
        r#"{"user_id":"0b922f14-d00b-11e7-aafd-525400bbac8e","#,
        r#""user_name":"dddddd","register_time":"2017-11-23T04:59:11.544126Z","status":"","avatar_url":"","#,
        r#""user_phone":"12312312312","user_email":"","user_token":"dbf15a70056b49feaa394288ea9299e3","role":"user","#,
        r#""user_real_name":"fff","user_gender":"男","user_nickname":"","#,
        r#""user_alias_id":"0b9314d8d00b11e7aafd525400bbac8e","enterprise":"e8d3bc38-beb0-11e7-888f-525400d25920","#,
        r#""group":"rentuser"}"#
    );
    let mut login = AuthenticatedSession { user, legacy: None, token, session };
    assert_eq!(serde_json::to_string(&UserView::from(&login)).unwrap(), expected);
    // The ids of the old system are written as it wrote them.
    let alias_id = Some("00000000000000000000000000000007".to_owned());
    login.legacy = Some(LegacyIds { id: "7".to_owned(), alias_id, number: Some(7) });
    let expected = expected.replace(ID, "7").replace(&login.user.alias_id, "00000000000000000000000000000007");
    assert_eq!(serde_json::to_string(&UserView::from(&login)).unwrap(), expected);
}

fn test_user(id: UserId) -> user::User {
    user::User {
        id,
        number: 100_001,
        name: Some("dddddd".to_owned()),
        phone: Some("12312312312".to_owned()),
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: Timestamp::from_micros(1_511_413_151_544_126),
        alias_id: "0b9314d8d00b11e7aafd525400bbac8e".to_owned(),
        role: Role::User,
        disabled: false,
        profile: Profile {
            real_name: "fff".to_owned(),
            gender: Some(Gender::Male),
            enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".to_owned(),
            group: "rentuser".to_owned(),
            ..Profile::default()
        },
    }
}

fn test_session(user: &user::User) -> Session {
    let at = user.registered_at;
    let (dialect, app) = ("cloudbox".to_owned(), String::new());
    Session { user: user.id, dialect, app, created: at, expires: at, last_seen: at, epoch: 0 }
}

#[test]
fn each_missing_or_invalid_field_is_named() {
    let valid = [("user_id", ID), ("orig_password", DIGEST), ("new_password", NEW_DIGEST), ("timestamp", "1511839692")];
    let invalid = [
        ("user_id", "a%00b"),
        ("orig_password", &DIGEST[1..]),
        ("new_password", "199db40c253bdc3875400e8ac67b9e2g"),
        ("timestamp", "-1"),
    ];
    for (index, (name, value)) in invalid.into_iter().enumerate() {
        let build_body = |value: Option<&str>| {
            let mut pairs: Vec<_> = valid.iter().map(|(name, value)| format!("{name}={value}")).collect();
            pairs[index] = value.map_or_else(String::new, |value| format!("{name}={value}"));
            Fields::from_urlencoded(&pairs.join("&")).unwrap()
        };
        let parse_error = |fields: Fields| PwdResetRequest::try_from(&fields).unwrap_err();
        assert_eq!(parse_error(build_body(None)), FieldError::Missing(Cow::Borrowed(name)));
        match name {
            // An empty proof counts as a wrong password. Each one is read as another random digest, so that it is no
            // replay.
            "orig_password" => {
                let [first, second] =
                    [(), ()].map(|()| PwdResetRequest::try_from(&build_body(Some(""))).unwrap().proof.digest);
                assert_ne!(first, second);
            }
            _ => assert_eq!(parse_error(build_body(Some(""))), FieldError::Missing(Cow::Borrowed(name))),
        }
        assert_eq!(parse_error(build_body(Some(value))), FieldError::Invalid(Cow::Borrowed(name)));
    }
}

#[test]
fn debug_output_hides_submitted_secrets() {
    let body = parse_fields(&format!(
        r#"{{"user_id":4,"orig_password":"{DIGEST}","new_password":"{NEW_DIGEST}","timestamp":1}}"#
    ));
    let printed = format!("{:?} {body:?}", PwdResetRequest::try_from(&body).unwrap().new_password);
    assert!(!printed.contains(NEW_DIGEST) && !printed.contains(DIGEST), "{printed}");
}

proptest! {
    #[test]
    fn a_proof_is_parsed_from_every_format(digest: [u8; 16], timestamp in 0..=i64::MAX.unsigned_abs(), name in "[a-z]{1,9}") {
        let lower = hex::encode(&digest);
        let upper = lower.to_uppercase();
        let expected = Ok((name.clone(), SaltedProof { digest, timestamp: timestamp.into() }));
        for password in [lower, upper] {
            for timestamp in [timestamp.to_string(), format!(r#""{timestamp}""#)] {
                let json = format!(r#"{{"timestamp":{timestamp},"username":"{name}","password":"{password}"}}"#);
                prop_assert_eq!(parse_login(&json), expected.clone());
            }
        }
    }

    #[test]
    fn only_hex_digests_and_decimal_timestamps_are_parsed(password in "\\PC{0,40}", timestamp in "\\PC{0,22}") {
        let json = serde_json::json!({ "username": "u", "password": password, "timestamp": timestamp }).to_string();
        match parse_login(&json) {
            Ok((_, proof)) => {
                prop_assert_eq!(Some(proof.digest), hex::decode(&password));
                prop_assert_eq!(Some(proof.timestamp), ClientTimestamp::parse(&timestamp));
            }
            Err(error) => prop_assert!(matches!(error.field_name(), Some("password" | "timestamp"))),
        }
    }
}
