//! Tables of the embedded state store. Times are microseconds since the Unix epoch.

diesel::table! {
    meta (key) {
        key -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    budgets (key) {
        key -> Binary,
        failures -> BigInt,
        started -> BigInt,
        blocked_until -> BigInt,
        by_origin -> Binary,
        expires -> BigInt,
    }
}

diesel::table! {
    known_origins (key) {
        key -> Binary,
        expires -> BigInt,
    }
}

diesel::table! {
    replays (key) {
        key -> Binary,
        expires -> BigInt,
    }
}

diesel::table! {
    sessions (key) {
        key -> Binary,
        user -> Binary,
        dialect -> Text,
        app -> Text,
        created -> BigInt,
        expires -> BigInt,
        last_seen -> BigInt,
        epoch -> BigInt,
    }
}

diesel::table! {
    revoked_tokens (key) {
        key -> Binary,
        expires -> BigInt,
    }
}

diesel::table! {
    codes (key) {
        key -> Binary,
        tag -> Binary,
        epoch -> BigInt,
        tries -> BigInt,
        expires -> BigInt,
    }
}

diesel::table! {
    uses (key) {
        key -> Binary,
        count -> BigInt,
        started -> BigInt,
        expires -> BigInt,
    }
}

diesel::table! {
    tickets (key) {
        key -> Binary,
        kind -> Text,
        user -> Binary,
        epoch -> BigInt,
        source -> Text,
        audience -> Text,
        expires -> BigInt,
    }
}

diesel::table! {
    captchas (id) {
        id -> BigInt,
        expires -> BigInt,
        views -> BigInt,
    }
}
