-- Stores rows in insertion order, with indexes of a few bytes per entry. Rows in key order dirtied a page per login, and
-- together with a counter per user doubled the size of the log and the cache.
DROP TRIGGER sessions_opened;
DROP TRIGGER sessions_ended;
DROP TABLE session_counts;

CREATE TABLE sessions_by_rowid (
    id INTEGER NOT NULL PRIMARY KEY,
    key BLOB NOT NULL UNIQUE,
    user BLOB NOT NULL,
    dialect TEXT NOT NULL,
    app TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    epoch BIGINT NOT NULL
);
INSERT INTO sessions_by_rowid (key, user, dialect, app, created, expires, last_seen, epoch)
    SELECT key, user, dialect, app, created, expires, last_seen, epoch FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_by_rowid RENAME TO sessions;
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_user ON sessions (user, created);
