//! Parsing and rendering of the API document's samples and their variations.

use proptest::prelude::*;

use super::*;

fn parse_request<T: for<'a> TryFrom<&'a Fields, Error = CallError<Mefp>>>(json: &str) -> Result<T, String> {
    let fields = Fields::from_json(json.as_bytes()).unwrap();
    T::try_from(&fields).map_err(|error| error.to_string())
}

#[test]
fn the_documented_samples_are_parsed() {
    let register: RegisterRequest =
        parse_request(r#"{"login_name": "15068880258", "password": "123456", "captcha": "629457"}"#).unwrap();
    assert_eq!((register.recipient.key(), register.code.expose()), ("15068880258", "629457"));
    let login: LoginRequest = parse_request(r#"{"login_name": "13612345678", "password": "123456"}"#).unwrap();
    assert_eq!(login.phone.key(), "13612345678");
    let captcha: CaptchaRequest = parse_request(r#"{"login_name": "15068880258", "usage": 1}"#).unwrap();
    assert_eq!((captcha.purpose, captcha.recipient_filter), (CodePurpose::Register, RecipientFilter::Unregistered));
    let forgot: ForgotRequest =
        parse_request(r#"{"login_name": "15068880258", "new_password": "123456", "captcha": "629457"}"#).unwrap();
    assert_eq!(forgot.recipient.key(), "15068880258");
    let token: GetTokenRequest = parse_request(r#"{"login_name": "15068880258", "app_to": "melink"}"#).unwrap();
    assert_eq!(token.app_to, "melink");
}

#[test]
fn numbers_and_strings_are_equivalent() {
    let captcha: CaptchaRequest = parse_request(r#"{"login_name": 15068880258.0, "usage": "2"}"#).unwrap();
    assert_eq!((captcha.purpose, captcha.recipient_filter), (CodePurpose::Reset, RecipientFilter::Registered));
    for usage in ["0", "3", "-1", "1.5", "\"\"", "\"01\"", "\" 1\"", "\"register\"", "true", "[1]"] {
        let json = format!(r#"{{"login_name": "15068880258", "usage": {usage}}}"#);
        assert!(parse_request::<CaptchaRequest>(&json).unwrap_err().contains("usage"), "{usage}");
    }
}

#[test]
fn a_code_sent_as_a_number_is_zero_padded() {
    for (sent, expected) in [("12345", "012345"), ("7", "000007"), ("0", "000000"), ("\"012345\"", "012345")] {
        let json = format!(r#"{{"login_name": "15068880258", "captcha": {sent}}}"#);
        assert_eq!(parse_request::<CheckCaptchaRequest>(&json).unwrap().code.expose(), expected);
    }
    for sent in ["1234567", "1.5", "\"\""] {
        let json = format!(r#"{{"login_name": "15068880258", "captcha": {sent}}}"#);
        let code = parse_request::<CheckCaptchaRequest>(&json).unwrap().code;
        assert!(
            code.expose().is_empty() || code.expose().len() > 6 || code.expose().bytes().any(|b| !b.is_ascii_digit()),
            "{sent}"
        );
    }
}

#[test]
fn missing_fields_are_reported_before_invalid_ones() {
    assert!(parse_request::<LoginRequest>(r#"{"login_name": "mark"}"#).unwrap_err().contains("password"));
    assert!(parse_request::<LoginRequest>(r#"{"login_name": "mark", "password": "x"}"#).unwrap_err().contains("phone"));
    assert!(parse_request::<CaptchaRequest>(r#"{"login_name": "mark", "usage": 9}"#).unwrap_err().contains("phone"));
}

#[test]
fn responses_have_the_documented_fields_in_order() {
    let to_json = |response: InnerResponse| serde_json::to_string(&response).unwrap();
    assert_eq!(to_json(InnerResponse::success()), r#"{"result":1}"#);
    let error = InnerResponse::error(40003, "用户名或密码错误");
    assert_eq!(to_json(error), r#"{"result":0,"errors":{"code":40003,"message":"用户名或密码错误"}}"#);
    let user_exists = InnerResponse::UserExists(UserExistsBody {
        result: 1,
        reg_app: "melink".into(),
        reg_time: "2011-07-23 20:27:00".into(),
    });
    assert_eq!(to_json(user_exists), r#"{"result":1,"reg_app":"melink","reg_time":"2011-07-23 20:27:00"}"#);
}

proptest! {
    #[test]
    fn every_code_can_be_sent_as_a_number(number in 0_u32..1_000_000) {
        let code = Code::from_user_input(&number.to_string());
        prop_assert_eq!(code.expose(), format!("{number:06}"));
    }
}
