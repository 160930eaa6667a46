//! Lua scripts: each runs one call of the `StateStore` port atomically.

use std::sync::LazyLock;

/// A Lua script and its SHA-1 digest for `EVALSHA`.
pub(super) struct Script {
    pub(super) source: &'static str,
    pub(super) sha1: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        Self { source, sha1: redis::Script::new(source).get_hash().to_owned() }
    }
}

/// Defines a script: `lua/common.lua`, followed by these files.
macro_rules! script {
    ($name:ident, $($part:literal),+) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/common.lua"), $(include_str!($part)),+)));
    };
}

script!(BIRTH, "lua/birth.lua");
script!(CHECK_WRITABLE, "lua/writable.lua");
script!(ADMIT, "lua/budget.lua", "lua/rate_limit.lua", "lua/admit.lua");
script!(
    RECORD_LOGIN_ATTEMPT,
    "lua/budget.lua",
    "lua/rate_limit.lua",
    "lua/records.lua",
    "lua/sessions.lua",
    "lua/record_login_attempt.lua"
);
script!(GUESS_CODE, "lua/budget.lua", "lua/rate_limit.lua", "lua/records.lua", "lua/guess_code.lua");
script!(SEND_CODE, "lua/send_code.lua");
script!(PUT_SESSION, "lua/records.lua", "lua/sessions.lua", "lua/put_session.lua");
script!(INDEX_SESSION, "lua/sessions.lua", "lua/index_session.lua");
script!(TOUCH_SESSION, "lua/sessions.lua", "lua/touch_session.lua");
script!(END_SESSION, "lua/end_session.lua");
script!(SET_SESSION_EPOCH, "lua/set_session_epoch.lua");
script!(PUT_TICKET, "lua/records.lua", "lua/put_ticket.lua");
script!(REDEEM_TICKET, "lua/redeem_ticket.lua");
script!(PUT_CAPTCHA, "lua/put_captcha.lua");
script!(VIEW_CAPTCHA, "lua/view_captcha.lua");
script!(TAKE_CAPTCHA, "lua/take_captcha.lua");
