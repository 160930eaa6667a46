DROP TABLE uses;
DROP TABLE codes;
DROP TABLE known_origins;
DROP TABLE budgets;

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
