-- Times are microseconds since the Unix epoch. Tables whose rows expire are indexed by their expiry.

CREATE TABLE meta (
    key TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;

CREATE TABLE budgets (
    key TEXT NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    started BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX budgets_by_expiry ON budgets (expires);

CREATE TABLE known_origins (
    account TEXT NOT NULL,
    origin TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (account, origin)
) WITHOUT ROWID;
CREATE INDEX known_origins_by_expiry ON known_origins (expires);

CREATE TABLE replays (
    key BLOB NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX replays_by_expiry ON replays (expires);

CREATE TABLE sessions (
    key BLOB NOT NULL PRIMARY KEY,
    user BLOB NOT NULL,
    dialect TEXT NOT NULL,
    app TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    epoch BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_expiry ON sessions (expires);

CREATE TABLE codes (
    key TEXT NOT NULL PRIMARY KEY,
    tag BLOB NOT NULL,
    epoch BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX codes_by_expiry ON codes (expires);

CREATE TABLE uses (
    key TEXT NOT NULL PRIMARY KEY,
    count BIGINT NOT NULL,
    started BIGINT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX uses_by_expiry ON uses (expires);

CREATE TABLE tickets (
    key BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    user BLOB NOT NULL,
    epoch BIGINT NOT NULL,
    source TEXT NOT NULL,
    audience TEXT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX tickets_by_expiry ON tickets (expires);

CREATE TABLE captchas (
    id BIGINT NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX captchas_by_expiry ON captchas (expires);
