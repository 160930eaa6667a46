//! Parsing and rendering of the API document's samples and their variations.

use std::borrow::Cow;

use proptest::prelude::*;
use stele_core::session::{Session, Token};
use stele_core::time::Timestamp;
use stele_core::user::{self, Gender, Profile, UserId};

use super::*;

const ID: &str = "01a56814-2da2-11e8-aafd-525400bbac8e";
const DIGEST: &str = "00b945c1fd92aa2623b704d8d37d8ffc";
const NEW_DIGEST: &str = "199db40c253bdc3875400e8ac67b9e21";
const PROOF_FORMATS: [ProofFormat; 3] = [ProofFormat::Salted, ProofFormat::Digest, ProofFormat::Either];

fn parse_fields(json: &str) -> Fields {
    Fields::from_json(json.as_bytes()).unwrap()
}

fn parse_login(json: &str, format: ProofFormat) -> Result<Proof, FieldError> {
    LoginRequest::parse(&parse_fields(json), format).map(|login| login.proof)
}

#[test]
fn the_documented_samples_contain_placeholders_instead_of_digests() {
    let sample = r#"{ "username":"mark", "password":"hna123", "timestamp":1521515662 }"#;
    for format in PROOF_FORMATS {
        assert_eq!(parse_login(sample, format).unwrap_err(), FieldError::Invalid(Cow::Borrowed("password")));
    }
    let proof = parse_login(&sample.replace("hna123", DIGEST), ProofFormat::Either).unwrap();
    let salted = proof.as_salted().unwrap();
    assert_eq!((hex::encode(&salted.digest).as_str(), salted.timestamp.seconds()), (DIGEST, 1_521_515_662));

    let sample =
        r#"{ "user_id":"4", "orig_password":"orig_password", "new_password":"new_password", "timestamp":1522395456 }"#;
    let parse_error = |sample: &str| PwdResetRequest::parse(&parse_fields(sample), ProofFormat::Either).unwrap_err();
    assert_eq!(parse_error(sample), FieldError::Invalid(Cow::Borrowed("orig_password")));
    let sample =
        sample.replace(r#""orig_password" "#, "").replacen(r#":"orig_password""#, &format!(r#":"{DIGEST}""#), 1);
    assert_eq!(parse_error(&sample), FieldError::Invalid(Cow::Borrowed("new_password")));
    let sample = sample.replace(r#":"new_password""#, &format!(r#":"{NEW_DIGEST}""#));
    assert_eq!(
        PwdResetRequest::parse(&parse_fields(&sample), ProofFormat::Either).unwrap().user_id,
        ClientUserId::parse_with_number("4").unwrap()
    );
}

#[test]
fn a_timestamp_is_required_for_salted_proofs_and_always_validated() {
    let build_body = |timestamp: &str| format!(r#"{{"username":"mark","password":"{DIGEST}"{timestamp}}}"#);
    for format in [ProofFormat::Salted, ProofFormat::Either] {
        for absent in ["", r#","timestamp":"""#, r#","timestamp":null"#] {
            assert_eq!(
                parse_login(&build_body(absent), format).unwrap_err(),
                FieldError::Missing(Cow::Borrowed("timestamp"))
            );
        }
    }
    for absent in ["", r#","timestamp":"""#, r#","timestamp":null"#, r#","timestamp":1"#] {
        assert!(matches!(parse_login(&build_body(absent), ProofFormat::Digest), Ok(Proof::Digest(_))), "{absent}");
    }
    for format in PROOF_FORMATS {
        for invalid in [r#","timestamp":"now""#, r#","timestamp":-1"#, r#","timestamp":1.5"#, r#","timestamp":true"#] {
            assert_eq!(
                parse_login(&build_body(invalid), format).unwrap_err(),
                FieldError::Invalid(Cow::Borrowed("timestamp"))
            );
        }
    }
}

#[test]
fn the_documented_response_is_reproduced() {
    let id = UserId::parse(ID).unwrap();
    let at = Timestamp::from_micros(1_521_703_447_037_042);
    let user = user::User {
        id,
        number: 100_001,
        name: Some("ddffccc".to_owned()),
        phone: Some("1548736484".to_owned()),
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: at,
        alias_id: "01a572502da211e8aafd525400bbac8e".to_owned(),
        role: Role::User,
        disabled: false,
        profile: Profile {
            real_name: "bbbbb".to_owned(),
            gender: Some(Gender::Male),
            // Only in cloudbox responses.
            enterprise: "e8d3bc38-beb0-11e7-888f-525400d25920".to_owned(),
            group: "rentuser".to_owned(),
            ..Profile::default()
        },
    };
    let (dialect, app) = ("tms".to_owned(), String::new());
    let session = Session { user: id, dialect, app, created: at, expires: at, last_seen: at, epoch: 0 };
    let token = Token::parse("11f58f61a2b44eff8ab01686fc0c309b").unwrap();
    let login = AuthenticatedSession { user, legacy: None, token, session };
    let expected = concat!(
        r#"{"user_id":"01a56814-2da2-11e8-aafd-525400bbac8e","#,
        r#""user_name":"ddffccc","register_time":"2018-03-22T15:24:07.037042+08:00","status":"","avatar_url":"","#,
        r#""user_phone":"1548736484","user_email":"","user_token":"11f58f61a2b44eff8ab01686fc0c309b","#,
        r#""user_real_name":"bbbbb","user_gender":"男","user_nickname":"","#,
        r#""user_alias_id":"01a572502da211e8aafd525400bbac8e","role":"2","group":"user"}"#
    );
    assert_eq!(serde_json::to_string(&UserView::new(&login, Offset::CHINA)).unwrap(), expected);
}

proptest! {
    #[test]
    fn a_proof_is_parsed_from_every_format(digest: [u8; 16], timestamp in 0..=i64::MAX.unsigned_abs()) {
        let lower = hex::encode(&digest);
        for password in [lower.to_uppercase(), lower] {
            for timestamp_text in [timestamp.to_string(), format!(r#""{timestamp}""#)] {
                let json = format!(r#"{{"timestamp":{timestamp_text},"username":"u","password":"{password}"}}"#);
                let expected = SaltedProof { digest, timestamp: timestamp.into() };
                prop_assert!(matches!(parse_login(&json, ProofFormat::Salted), Ok(Proof::Salted(proof)) if proof == expected));
                prop_assert!(matches!(parse_login(&json, ProofFormat::Either), Ok(Proof::SaltedOrDigest(proof)) if proof == expected));
                let Ok(Proof::Digest(proof)) = parse_login(&json, ProofFormat::Digest) else { panic!("{json}") };
                prop_assert_eq!(proof.salted_hash(7), PasswordDigest::from_bytes(digest).salted_hash(7));
            }
        }
    }

    #[test]
    fn only_hex_digests_and_decimal_timestamps_are_parsed(password in "\\PC{0,40}", timestamp in "\\PC{1,22}", format_index in 0usize..3) {
        let json = serde_json::json!({ "username": "u", "password": password, "timestamp": timestamp }).to_string();
        let is_valid = hex::decode::<16>(&password).is_some() && ClientTimestamp::parse(&timestamp).is_some();
        prop_assert_eq!(parse_login(&json, PROOF_FORMATS[format_index]).is_ok(), is_valid);
    }
}
