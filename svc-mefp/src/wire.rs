//! What goes over the wire: the outer request, and the inner requests and answers with the quirks of the API document
//! (`docs/PROTOCOLS.md`, MeFP).

use std::borrow::Cow;

use serde::Serialize;
use stele_core::Error;
use stele_core::code::{Code, Purpose};
use stele_core::identifier::{Phone, Recipient};
use stele_core::password::RawPassword;
use stele_core::session::Token;
use stele_core::time::Offset;
use stele_core::usecase::send_code::Sendable;
use stele_core::user::User;
use stele_dialect::{Failure, Fault, Fields, reply};

use crate::dialect::Mefp;

/// The outer request: the only part that is not encrypted.
pub(crate) struct Outer<'a> {
    pub(crate) encrypt: &'a str,
    pub(crate) app_from: &'a str,
}

impl<'a> TryFrom<&'a Fields> for Outer<'a> {
    type Error = Fault;

    fn try_from(fields: &'a Fields) -> Result<Self, Fault> {
        Ok(Self { encrypt: fields.required("encrypt")?, app_from: fields.required("app_from")? })
    }
}

reply! {
    /// The outer answer.
    pub(crate) struct Sealed = SEALED "Sealed" "信封里的答复" {
        encrypt: String => like(
            "加密后的答复，base64",
            "^([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            "cPWXWz+gT0AuXWXkAeADnw=="
        ),
    }
}

/// 注册
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) to: Recipient,
    pub(crate) password: RawPassword,
    pub(crate) code: Code,
}

/// 登录
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) phone: Phone,
    pub(crate) password: RawPassword,
}

/// 获取手机验证码
#[derive(Debug)]
pub(crate) struct Captcha {
    pub(crate) to: Recipient,
    pub(crate) purpose: Purpose,
    pub(crate) sendable: Sendable,
}

/// 找回密码
#[derive(Debug)]
pub(crate) struct Forgot {
    pub(crate) to: Recipient,
    pub(crate) password: RawPassword,
    pub(crate) code: Code,
}

/// 获取Token
#[derive(Debug)]
pub(crate) struct GetToken {
    pub(crate) phone: Phone,
    pub(crate) app_to: String,
}

/// 验证用户名
#[derive(Debug)]
pub(crate) struct CheckLoginname {
    pub(crate) phone: Phone,
}

/// 验证验证码
#[derive(Debug)]
pub(crate) struct CheckCaptcha {
    pub(crate) to: Recipient,
    pub(crate) code: Code,
}

/// Redeeming a token: ours, for the API document does not say what a token is for (`docs/PROTOCOLS.md`, MeFP).
#[derive(Debug)]
pub(crate) struct CheckToken {
    /// `None` if the text cannot be a token.
    pub(crate) token: Option<Token>,
}

/// Reads an inner request: first whether every field is there, then whether `login_name` is a phone, then the rest.
macro_rules! read {
    ($name:ident, |$fields:ident| $read:expr) => {
        impl TryFrom<&Fields> for $name {
            type Error = Failure<Mefp>;

            fn try_from($fields: &Fields) -> Result<Self, Self::Error> {
                $read
            }
        }
    };
}

read!(Register, |fields| {
    let [name, password, captcha] = all(fields, ["login_name", "password", "captcha"])?;
    Ok(Self { to: recipient(name)?, password: RawPassword::new(password.to_owned()), code: Code::typed(captcha) })
});

read!(Login, |fields| {
    let [name, password] = all(fields, ["login_name", "password"])?;
    Ok(Self { phone: phone(name)?, password: RawPassword::new(password.to_owned()) })
});

read!(Captcha, |fields| {
    let [name, usage] = all(fields, ["login_name", "usage"])?;
    let to = recipient(name)?;
    match usage {
        "1" => Ok(Self { to, purpose: Purpose::Register, sendable: Sendable::Strangers }),
        "2" => Ok(Self { to, purpose: Purpose::Reset, sendable: Sendable::Users }),
        _ => Err(Fault::Invalid(Cow::Borrowed("usage")).into()),
    }
});

read!(Forgot, |fields| {
    let [name, password, captcha] = all(fields, ["login_name", "new_password", "captcha"])?;
    Ok(Self { to: recipient(name)?, password: RawPassword::new(password.to_owned()), code: Code::typed(captcha) })
});

read!(GetToken, |fields| {
    let [name, app_to] = all(fields, ["login_name", "app_to"])?;
    Ok(Self { phone: phone(name)?, app_to: app_to.to_owned() })
});

read!(CheckLoginname, |fields| {
    let [name] = all(fields, ["login_name"])?;
    Ok(Self { phone: phone(name)? })
});

read!(CheckCaptcha, |fields| {
    let [name, captcha] = all(fields, ["login_name", "captcha"])?;
    Ok(Self { to: recipient(name)?, code: Code::typed(captcha) })
});

read!(CheckToken, |fields| {
    let [token] = all(fields, ["token"])?;
    Ok(Self { token: Token::parse(token) })
});

fn all<'a, const N: usize>(fields: &'a Fields, names: [&'static str; N]) -> Result<[&'a str; N], Fault> {
    let mut texts = [""; N];
    for (text, name) in texts.iter_mut().zip(names) {
        *text = fields.present(name)?;
    }
    Ok(texts)
}

fn phone(login_name: &str) -> Result<Phone, Error> {
    Phone::parse(login_name).ok_or(Error::Invalid("phone"))
}

fn recipient(login_name: &str) -> Result<Recipient, Error> {
    phone(login_name).map(Recipient::Phone)
}

/// An inner answer.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Reply {
    /// Nothing more to say.
    Done(Done),
    /// 获取Token
    Issued(Issued),
    /// 验证用户名: the name exists.
    Known(Known),
    /// Whose token it was, and which app handed it out.
    Bearer(Bearer),
    /// No.
    No(No),
}

reply! {
    /// `result` is 1 for what was done.
    pub(crate) struct Done = DONE "Done" "信封里：成功" {
        result: u8 => number("固定为 1", &[1]),
    }
}

reply! {
    /// A token for another app.
    pub(crate) struct Issued = ISSUED "Issued" "信封里：token" {
        result: u8 => number("固定为 1", &[1]),
        token: String => like("一次性，5 分钟内有效", TOKEN, "1f5edc6f1efb165d45a654798d4baaa5"),
    }
}

reply! {
    /// `reg_app` is empty for a user who registered elsewhere.
    pub(crate) struct Known = KNOWN "Known" "信封里：用户名存在" {
        result: u8 => number("固定为 1", &[1]),
        reg_app: String => text("注册时的应用；不是通过应用注册的则为空", "melink"),
        reg_time: String => like("注册时间，+08:00", r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", "2011-07-23 20:27:00"),
    }
}

reply! {
    /// Whose token it was.
    pub(crate) struct Bearer = BEARER "Bearer" "信封里：token 是谁的" {
        result: u8 => number("固定为 1", &[1]),
        login_name: String => text("手机号；没有则为用户名", "13612345678"),
        app_from: String => text("发出 token 的应用", "melink"),
    }
}

reply! {
    /// `result` is 0 for what was not.
    pub(crate) struct No = NO "No" "明文的失败；信封里的失败也是这个样子" {
        result: u8 => number("固定为 0", &[0]),
        errors: Errors => object("错误", &ERRORS),
    }
}

reply! {
    /// Why not.
    pub(crate) struct Errors = ERRORS "Errors" "错误" {
        code: u32 => number(
            "请求错误代码",
            &[40000, 40001, 40002, 40003, 40004, 40005, 40006, 40007, 40400, 40500, 41300, 42900, 50000, 50300]
        ),
        message: Cow<'static, str> => text("错误内容", "请求无法解密"),
    }
}

/// How a one-time token is written.
pub(crate) const TOKEN: &str = "^[0-9a-f]{32}$";

impl Reply {
    pub(crate) fn done() -> Self {
        Self::Done(Done { result: 1 })
    }

    pub(crate) fn token(token: &Token) -> Self {
        Self::Issued(Issued { result: 1, token: token.expose().to_owned() })
    }

    pub(crate) fn known(user: User) -> Self {
        let reg_time = user.registered_at.date_time(Offset::CHINA);
        Self::Known(Known { result: 1, reg_app: user.registered_through, reg_time })
    }

    pub(crate) fn bearer(user: &User, app_from: String) -> Self {
        let login_name = user.phone.as_deref().unwrap_or_else(|| user.display_name()).to_owned();
        Self::Bearer(Bearer { result: 1, login_name, app_from })
    }

    /// Number and text of a refusal; empty for what is none.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::No(No { errors, .. }) => format!("`{}` {}", errors.code, errors.message),
            Self::Done(_) | Self::Issued(_) | Self::Known(_) | Self::Bearer(_) => String::new(),
        }
    }

    pub(crate) fn no(code: u32, message: impl Into<Cow<'static, str>>) -> Self {
        Self::No(No { result: 0, errors: Errors { code, message: message.into() } })
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
