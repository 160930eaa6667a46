CREATE TABLE sessions_by_key (
    key BLOB NOT NULL PRIMARY KEY,
    user BLOB NOT NULL,
    dialect TEXT NOT NULL,
    app TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    epoch BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO sessions_by_key (key, user, dialect, app, created, expires, last_seen, epoch)
    SELECT key, user, dialect, app, created, expires, last_seen, epoch FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_by_key RENAME TO sessions;
CREATE INDEX sessions_by_expiry ON sessions (expires);
CREATE INDEX sessions_by_user ON sessions (user, created);

CREATE TABLE session_counts (
    user BLOB NOT NULL PRIMARY KEY,
    open BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO session_counts (user, open) SELECT user, count(*) FROM sessions GROUP BY user;
CREATE TRIGGER sessions_opened AFTER INSERT ON sessions BEGIN
    INSERT INTO session_counts (user, open) VALUES (NEW.user, 1) ON CONFLICT (user) DO UPDATE SET open = open + 1;
END;
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions BEGIN
    UPDATE session_counts SET open = open - 1 WHERE user = OLD.user;
    DELETE FROM session_counts WHERE user = OLD.user AND open <= 0;
END;
