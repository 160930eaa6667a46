//! Lua scripts: each runs a call of the `StateStore` port atomically, or the part of the call that concerns one slot of
//! a cluster.

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

/// Defines a script: `lua/common.lua`, followed by the given files.
macro_rules! script {
    ($name:ident, $($part:literal),+) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/common.lua"), $(include_str!($part)),+)));
    };
}

script!(BIRTH, "lua/birth.lua");
script!(CHECK_WRITABLE, "lua/check_writable.lua");
script!(CHECK_RATE_LIMIT, "lua/budget.lua", "lua/rate_limit.lua", "lua/check_rate_limit.lua");
script!(
    RECORD_LOGIN_ATTEMPT,
    "lua/budget.lua",
    "lua/rate_limit.lua",
    "lua/records.lua",
    "lua/sessions.lua",
    "lua/record_login_attempt.lua"
);
script!(CHECK_ORIGIN, "lua/budget.lua", "lua/rate_limit.lua", "lua/check_origin.lua");
script!(REVERT_FAILURE, "lua/budget.lua", "lua/rate_limit.lua", "lua/revert_failure.lua");
script!(VERIFY_CODE, "lua/budget.lua", "lua/rate_limit.lua", "lua/records.lua", "lua/codes.lua", "lua/verify_code.lua");
script!(CONSUME_QUOTAS, "lua/records.lua", "lua/consume_quotas.lua");
script!(STORE_CODE, "lua/records.lua", "lua/store_code.lua");
script!(STORE_SESSION, "lua/records.lua", "lua/sessions.lua", "lua/store_session.lua");
script!(INDEX_SESSION, "lua/sessions.lua", "lua/index_session.lua");
script!(TOUCH_SESSION, "lua/sessions.lua", "lua/touch_session.lua");
script!(END_SESSION, "lua/end_session.lua");
script!(DELETE_SESSION, "lua/delete_session.lua");
script!(REMOVE_INDEX_ENTRIES, "lua/remove_index_entries.lua");
script!(REVOKE_TOKEN, "lua/revoke_token.lua");
script!(SET_SESSION_EPOCH, "lua/set_session_epoch.lua");
script!(STORE_TICKET, "lua/records.lua", "lua/store_ticket.lua");
script!(REDEEM_TICKET, "lua/redeem_ticket.lua");
script!(STORE_CAPTCHA, "lua/store_captcha.lua");
script!(COUNT_CAPTCHA_VIEW, "lua/count_captcha_view.lua");
script!(CONSUME_CAPTCHA, "lua/consume_captcha.lua");
