//! Faults of an old server.

use std::time::Duration;

/// A fault that a test switches on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server works.
    None,
    /// Processes the call at once and answers after this time: a client that gives up does not undo the login.
    Slow(Duration),
    /// Refuses connections; those that are open are closed.
    Gone,
    /// Answers with this status and a page in HTML, as a proxy in front does.
    Status(u16),
    /// Answers with 307 and this URL; a client that follows it would send the password there.
    Redirect(String),
    /// Answers with 200 and this text.
    Body(String),
    /// Processes the call and answers with half of the JSON text.
    Malformed,
    /// Processes the call, announces the whole length, sends half of the text and closes the connection.
    Truncated,
    /// Answers with 200 and JSON that never ends, in chunks.
    Endless,
    /// A login is answered with another user's ids.
    OtherId,
    /// A login is answered with another user's name, phone and e-mail.
    OtherName,
    /// A login demands a captcha: the portal's 3208, JWT's `请输入验证码`. Other documents have none.
    CaptchaDemanded,
    /// A login succeeds with any password, and for unknown users too.
    AcceptsAll,
    /// A login fails with every password.
    RejectsAll,
}

/// A fault within the processing of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    OtherId,
    OtherName,
    CaptchaDemanded,
    AcceptsAll,
    RejectsAll,
}

impl Fault {
    pub(crate) fn lie(&self) -> Lie {
        match self {
            Self::OtherId => Lie::OtherId,
            Self::OtherName => Lie::OtherName,
            Self::CaptchaDemanded => Lie::CaptchaDemanded,
            Self::AcceptsAll => Lie::AcceptsAll,
            Self::RejectsAll => Lie::RejectsAll,
            Self::None
            | Self::Slow(_)
            | Self::Gone
            | Self::Status(_)
            | Self::Redirect(_)
            | Self::Body(_)
            | Self::Malformed
            | Self::Truncated
            | Self::Endless => Lie::None,
        }
    }
}
