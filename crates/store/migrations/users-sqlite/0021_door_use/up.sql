-- Use of the dialects, written together with the audit log. A day is the number of days since 1970-01-01 in UTC; times are
-- microseconds since the Unix epoch.

-- Sessions opened on a day, and by how many different users.
CREATE TABLE door_use (
    day BIGINT NOT NULL,
    dialect TEXT NOT NULL,
    client TEXT NOT NULL,
    proof TEXT NOT NULL,
    logins BIGINT NOT NULL,
    users BIGINT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    PRIMARY KEY (day, dialect, client, proof)
) WITHOUT ROWID;

-- Each user's use. Bit n of days is set if there was a use n days before last_day; last_at may lie an hour behind.
CREATE TABLE user_door (
    dialect TEXT NOT NULL,
    user_id BLOB NOT NULL,
    client TEXT NOT NULL,
    proof TEXT NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    last_day BIGINT NOT NULL,
    days BIGINT NOT NULL,
    PRIMARY KEY (dialect, user_id, client, proof)
) WITHOUT ROWID;
CREATE INDEX user_door_by_last_use ON user_door (dialect, last_at, user_id, client, proof);

-- Times at which a dialect is closed to all clients or to one. kind: brownout, or off, which has no end.
CREATE TABLE door_closures (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    dialect TEXT NOT NULL,
    client TEXT,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT,
    created_at BIGINT NOT NULL,
    operator TEXT NOT NULL,
    canceled_at BIGINT
);
