//! What an old server was asked, for assertions of tests.

use std::time::Instant;

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// A login: `authsalt`, `/i/login`, `/auth/login`, `Login`.
    Login,
    /// TMS's login of administrators, `adminauthsalt`.
    AdminLogin,
    /// A logout.
    Logout,
    /// A change of the password: `pwdreset`, `/i/resetpwd`, `/auth/forgot`, `updatePassword`.
    PasswordChange,
    /// A registration.
    Register,
    /// The sending of a code: `/code/send`, `/auth/captcha`, `ForgetPassword`.
    SendCode,
    /// The check of a code: `/auth/check/captcha`, `validatePhone`.
    CheckCode,
    /// A captcha: JWT's `getCAPTCHA`, and the picture itself.
    Captcha,
    /// MeFP's `/auth/token`.
    Token,
    /// MeFP's `/auth/check/loginname`.
    CheckName,
    /// A path or method that the document does not have.
    Unknown,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not answered yet.
    Pending,
    /// Done.
    Accepted,
    /// Answered with an error; the code is the dialect's (`1002`, `3201`, `40003`, `-1`) or an HTTP status.
    Refused(String),
    /// Not processed, because of the fault of this name.
    Faulted(&'static str),
}

/// A call that an old server received.
#[derive(Clone, Debug)]
pub struct ReceivedCall {
    /// The kind.
    pub call: Call,
    /// The login name, phone, e-mail or user id in the request (for a logout: the user of the session), or the path if
    /// the call is [`Call::Unknown`].
    pub identifier: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it arrived.
    pub received_at: Instant,
}
