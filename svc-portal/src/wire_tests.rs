//! Parsing and rendering of the API document's samples and their variations.

use proptest::prelude::*;
use stele_core::identifier::Identifier;
use stele_core::time::Timestamp;
use stele_core::user::{FIRST_USER_NUMBER, Profile, Role, UserId};

use super::*;

fn parse_fields(form: &str) -> Fields {
    Fields::from_urlencoded(form).unwrap()
}

fn invalid_field(field: &'static str) -> Option<FieldError> {
    Some(FieldError::Invalid(Cow::Borrowed(field)))
}

fn missing_field(field: &'static str) -> Option<FieldError> {
    Some(FieldError::Missing(Cow::Borrowed(field)))
}

fn test_user() -> User {
    User {
        id: UserId::from_bytes([7; 16]),
        number: FIRST_USER_NUMBER,
        name: None,
        phone: None,
        email: None,
        registered_with: None,
        registered_through: String::new(),
        registered_at: Timestamp::from_secs(0),
        alias_id: String::new(),
        role: Role::User,
        disabled: false,
        profile: Profile::default(),
    }
}

fn some_text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn the_login_response_matches_the_document_exactly() {
    let mut user = test_user();
    (user.phone, user.email) = (some_text("13800138000"), some_text("123456@qq.cpom"));
    user.registered_with = some_text("13800138000");
    let sample = r#"{"id":"1","user_name":"13800138000","mobile":"13800138000","email":"123456@qq.cpom","user_type":0,"gid":"100001","orgId":"","passport":"13800138000","memo":""}"#;
    assert_eq!(serde_json::to_string(&ProfileView::new(&user, None)).unwrap(), sample);
    user.profile.org_id = "100001".to_owned();
    let sample = sample.replace(r#""user_type":0"#, r#""user_type":1"#).replace(r#""orgId":"""#, r#""orgId":"100001""#);
    assert_eq!(serde_json::to_string(&ProfileView::new(&user, None)).unwrap(), sample);
}

#[test]
fn the_ids_of_an_old_portal_are_answered_as_they_were() {
    let user = test_user();
    let ids = |user: &User, legacy: Option<&LegacyIds>| {
        let view = ProfileView::new(user, legacy);
        (view.id, view.gid)
    };
    let pair = |id: &str, gid: &str| (id.to_owned(), gid.to_owned());
    let legacy = LegacyIds { id: "0007".to_owned(), ..LegacyIds::default() };
    assert_eq!(ids(&user, Some(&legacy)), pair("0007", "100001"));
    assert_eq!(ids(&user, Some(&LegacyIds { number: Some(300_007), ..legacy })), pair("0007", "300007"));
    assert_eq!(ids(&User { number: 300_007, ..user.clone() }, None), pair("200007", "300007"));
    assert_eq!(ids(&User { number: 7, ..user }, None), pair("2000000007", "7"));
}

#[test]
fn names_and_passports_use_the_documented_fallback_order() {
    let mut user = test_user();
    let name_and_passport = |user: &User| {
        let content = ProfileView::new(user, None);
        (content.user_name.to_owned(), content.passport.to_owned())
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(name_and_passport(&user), pair("", ""));
    user.email = some_text("a@b.cn");
    assert_eq!(name_and_passport(&user), pair("a@b.cn", "a@b.cn"));
    user.phone = some_text("13800138000");
    assert_eq!(name_and_passport(&user), pair("13800138000", "13800138000"));
    user.name = some_text("Mark");
    assert_eq!(name_and_passport(&user), pair("Mark", "13800138000"));
    user.registered_with = some_text("a@b.cn");
    assert_eq!(name_and_passport(&user), pair("Mark", "a@b.cn"));
    (user.phone, user.email, user.registered_with) = (None, None, None);
    assert_eq!(name_and_passport(&user), pair("Mark", "Mark"));
}

#[test]
fn missing_and_invalid_fields_are_named() {
    let new_password_error = |form: &str| NewPasswordRequest::try_from(&parse_fields(form)).err();
    assert_eq!(new_password_error(""), missing_field("username"));
    assert_eq!(new_password_error("username=a@b.cn"), missing_field("password"));
    assert_eq!(new_password_error("username=a@b.cn&password=MTIzNDU2"), missing_field("code"));
    assert_eq!(new_password_error("username=a@b.cn&password=MTIzNDU2&code=MTIzNDU2"), None);
    assert_eq!(new_password_error("username=a@b.cn&password=&code="), None, "an invalid password and a wrong code");
    assert_eq!(new_password_error("username=&password=MTIzNDU2&code=MTIzNDU2"), invalid_field("username"));
    assert_eq!(new_password_error("username=mark&password=MTIzNDU2&code=MTIzNDU2"), invalid_field("username"));
    assert_eq!(new_password_error("username=a@b.cn&password=123456&code=MTIzNDU2"), invalid_field("password"));
    assert_eq!(new_password_error("username=a@b.cn&password=MTIzNDU2&code=123456"), invalid_field("code"));

    let login_error = |form: &str| LoginRequest::try_from(&parse_fields(form)).err();
    assert_eq!(login_error("username=mark&password=MTIzNDU2"), None);
    assert_eq!(login_error("username=mark&password=MTIzNDU2&code="), None);
    assert_eq!(login_error("username=mark&password=MTIzNDU2&code=!"), invalid_field("code"));
    assert_eq!(login_error("username=mark"), missing_field("password"));
    assert_eq!(login_error("password=MTIzNDU2"), missing_field("username"));
    assert_eq!(login_error("username=&password=%20"), None, "an unknown user and a wrong password");
    assert_eq!(SendCodeRequest::try_from(&parse_fields("")).err(), missing_field("username"));
}

#[test]
fn a_login_keeps_phones_and_emails_unchanged() {
    for username in ["13800138000", "+8613800138000", "+14155550123", "a@b.cn", "1@hna", " A@B.cn "] {
        assert_eq!(login_identifier(username), username);
    }
}

proptest! {
    #[test]
    fn any_other_login_maps_to_an_unassignable_identifier(username in "\\PC{1,40}") {
        // An administrator may have stored anything that folds to an address with an @.
        if Recipient::parse(&username).is_none() && Email::parse_provisioned(&username).is_none() {
            prop_assert!(Identifier::parse(&login_identifier(&username)).is_none(), "{username:?}");
        }
    }

    #[test]
    fn a_code_is_decoded_from_base64(code in "[0-9]{6}", password in "\\PC{1,40}") {
        use base64::Engine as _;
        let encode = |text: &str| base64::engine::general_purpose::URL_SAFE.encode(text);
        let form = format!("username=13800138000&password={}&code={}", encode(&password), encode(&code));
        let request = NewPasswordRequest::try_from(&parse_fields(&form)).unwrap();
        prop_assert_eq!(request.code.expose(), &code);
        let digest = RawPassword::new(password).digest();
        prop_assert_eq!(request.password.digest().salted_hash(1), digest.salted_hash(1));
    }
}
