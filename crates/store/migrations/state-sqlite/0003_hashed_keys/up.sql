-- Rate limit counters get hashed keys of a fixed size, and an account's failures are stored by origin. Counters under the
-- old keys are deleted; sessions, tickets and used proofs are retained.

DROP TABLE budgets;
CREATE TABLE budgets (
    key BLOB NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    started BIGINT NOT NULL,
    blocked_until BIGINT NOT NULL,
    by_origin BLOB NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX budgets_by_expiry ON budgets (expires);

DROP TABLE known_origins;
CREATE TABLE known_origins (
    key BLOB NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX known_origins_by_expiry ON known_origins (expires);

DROP TABLE codes;
CREATE TABLE codes (
    key BLOB NOT NULL PRIMARY KEY,
    tag BLOB NOT NULL,
    epoch BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX codes_by_expiry ON codes (expires);

DROP TABLE uses;
CREATE TABLE uses (
    key BLOB NOT NULL PRIMARY KEY,
    count BIGINT NOT NULL,
    started BIGINT NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX uses_by_expiry ON uses (expires);
