//! What clients send and what they are answered, field by field as the document has it. No logic.

use std::borrow::Cow;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use serde::Serialize;
use stele_core::code::Code;
use stele_core::identifier::{Email, Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::usecase::captcha::Solution;
use stele_core::user::{Gender, User};
use stele_core::{Error, Result as CoreResult};
use stele_dialect::{Fault, Fields, json};

/// Captcha ids are below 2^53, so that clients written in JavaScript keep them whole.
const IDS: u64 = 1 << 53;

/// 登录.
#[derive(Debug)]
pub struct Login {
    /// 用户名.
    pub account: String,
    /// 密码.
    pub password: RawPassword,
    /// `captchaId` and `captcha`: ours, for the document issues captchas but never says where they go.
    pub captcha: Option<Solution>,
}

impl TryFrom<&Fields> for Login {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.required("account")?.to_owned();
        let password = RawPassword::new(fields.required("password")?.to_owned());
        let id = fields.optional("captchaId")?.map(|text| captcha_id(text).ok_or(invalid("captchaId"))).transpose()?;
        let text = fields.optional("captcha")?;
        let captcha = id.zip(text).map(|(id, text)| Solution { id, text: text.to_owned() });
        Ok(Self { account, password, captcha })
    }
}

/// 忘记密码.
#[derive(Debug)]
pub struct ForgetPassword {
    /// 用户名.
    pub account: String,
    /// `phone`, as the table has it, or `email`, as the sample has it; `phone` if both are there.
    pub to: Recipient,
}

impl TryFrom<&Fields> for ForgetPassword {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.required("account")?.to_owned();
        let to = match (fields.optional("phone")?, fields.optional("email")?) {
            (Some(phone), _) => Phone::parse(phone).map(Recipient::Phone).ok_or(invalid("phone"))?,
            (None, Some(email)) => Email::parse(email).map(Recipient::Email).ok_or(invalid("email"))?,
            (None, None) => return Err(Fault::Missing(Cow::Borrowed("phone"))),
        };
        Ok(Self { account, to })
    }
}

/// 验证手机.
#[derive(Debug)]
pub struct ValidatePhone {
    /// 用户名.
    pub account: String,
    /// 验证码.
    pub code: Code,
}

impl TryFrom<&Fields> for ValidatePhone {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.required("account")?.to_owned();
        Ok(Self { account, code: Code::typed(fields.required("identifyCode")?) })
    }
}

/// 更新密码.
#[derive(Debug)]
pub struct UpdatePassword {
    /// 用户名.
    pub account: String,
    /// 密码: the new one.
    pub password: RawPassword,
}

impl TryFrom<&Fields> for UpdatePassword {
    type Error = Fault;

    fn try_from(fields: &Fields) -> Result<Self, Fault> {
        let account = fields.required("account")?.to_owned();
        Ok(Self { account, password: RawPassword::new(fields.required("password")?.to_owned()) })
    }
}

/// Reads a captcha's id: decimal digits, below 2^53.
pub fn captcha_id(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?.filter(|&id| id < IDS)
}

/// What is wrong with a parameter that is there but cannot be used.
pub fn invalid(name: &'static str) -> Fault {
    Fault::Invalid(Cow::Borrowed(name))
}

/// A user, as the login answers one. Absent texts are empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserView<'a> {
    user_id: String,
    account: &'a str,
    real_name: &'a str,
    organization_name: &'a str,
    department_name: &'a str,
    role_name: &'static str,
    description: &'a str,
    avatar: &'a str,
    /// `true` is 男. The document knows no third value, so 女 and unknown are both `false`.
    gender: bool,
}

impl<'a> From<&'a User> for UserView<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            user_id: user.id.to_string(),
            account: user.display_name(),
            real_name: &user.profile.real_name,
            organization_name: &user.profile.organization,
            department_name: &user.profile.department,
            role_name: user.role.as_str(),
            description: &user.profile.description,
            avatar: &user.profile.avatar_url,
            gender: user.profile.gender == Some(Gender::Male),
        }
    }
}

/// A captcha, as it is announced.
#[derive(Debug, Serialize)]
struct CaptchaView<'a> {
    id: u64,
    #[serde(rename = "URL")]
    url: &'a str,
}

/// Every answer, in the document's order; `token` is ours and comes last.
#[derive(Serialize)]
struct Answer<'a> {
    code: i8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<CaptchaView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

impl<'a> Answer<'a> {
    fn new(code: i8, message: &'a str) -> Self {
        Self { code, message, user: None, data: None, token: None }
    }
}

/// `{"code":-1,"message":…}`.
pub fn failure(status: StatusCode, message: &str) -> HttpResponse {
    json(status, &Answer::new(-1, message))
}

/// `{"code":0,"message":…}`.
pub fn success(message: &str) -> HttpResponse {
    json(StatusCode::OK, &Answer::new(0, message))
}

/// A captcha's id, and where its picture is.
pub fn captcha(id: u64, url: &str) -> HttpResponse {
    json(StatusCode::OK, &Answer { data: Some(CaptchaView { id, url }), ..Answer::new(0, "获取验证码成功") })
}

/// A token, and after a login its user: in the body and, where JWT clients look for it, in `Authorization`.
///
/// # Errors
/// A fault of ours, if the token cannot be in a header.
pub fn bearing(message: &str, user: Option<&User>, token: &str) -> CoreResult<HttpResponse> {
    let header = HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    let answer = Answer { user: user.map(UserView::from), token: Some(token), ..Answer::new(0, message) };
    let mut response = json(StatusCode::OK, &answer);
    response.headers_mut().insert(AUTHORIZATION, header);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forget(body: &str) -> Result<Recipient, Fault> {
        let fields = Fields::from_urlencoded(body).unwrap();
        ForgetPassword::try_from(&fields).map(|request| request.to)
    }

    #[test]
    fn a_phone_goes_before_an_address() {
        let phone = Phone::parse("13800138000").map(Recipient::Phone).unwrap();
        assert_eq!(forget("account=a&email=a%40b.cn&phone=13800138000"), Ok(phone));
        let email = Email::parse("a@b.cn").map(Recipient::Email).unwrap();
        assert_eq!(forget("account=a&email=a%40b.cn&phone="), Ok(email));
        assert_eq!(forget("account=a"), Err(Fault::Missing("phone".into())));
        assert_eq!(forget("account=a&phone=1&email=a%40b.cn"), Err(invalid("phone")));
        assert_eq!(forget("account=a&email=1"), Err(invalid("email")));
    }

    #[test]
    fn half_a_captcha_is_none() {
        let captcha = |rest: &str| {
            let fields = Fields::from_urlencoded(&format!("account=a&password=1{rest}")).unwrap();
            Login::try_from(&fields).map(|login| login.captcha.map(|solution| (solution.id, solution.text)))
        };
        assert_eq!(captcha("&captchaId=7&captcha=AbC34"), Ok(Some((7, "AbC34".to_owned()))));
        for none in ["", "&captchaId=7", "&captcha=x", "&captchaId=&captcha=x", "&captchaId=7&captcha="] {
            assert_eq!(captcha(none), Ok(None), "{none}");
        }
        assert_eq!(captcha("&captchaId=x"), Err(invalid("captchaId")));
    }

    proptest! {
        #[test]
        fn captcha_ids_are_whole_numbers_below_2_to_the_53(text in "\\PC{0,24}", id: u64) {
            prop_assert_eq!(captcha_id(&id.to_string()), Some(id).filter(|&id| id < IDS));
            if let Some(id) = captcha_id(&text) {
                prop_assert_eq!(text.trim_start_matches('0').to_owned(), Some(id).filter(|&id| id > 0).map_or(String::new(), |id| id.to_string()));
            }
        }
    }
}
