-- A user's sessions by age, and their number: counting them at each login would read all of them.
CREATE INDEX sessions_by_user ON sessions (user, created);

CREATE TABLE session_counts (
    user BLOB NOT NULL PRIMARY KEY,
    open BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO session_counts (user, open) SELECT user, count(*) FROM sessions GROUP BY user;

-- Triggers maintain the number, so that each statement that ends sessions updates it. Connections enable
-- recursive_triggers, so that REPLACE fires them as well.
CREATE TRIGGER sessions_opened AFTER INSERT ON sessions BEGIN
    INSERT INTO session_counts (user, open) VALUES (NEW.user, 1) ON CONFLICT (user) DO UPDATE SET open = open + 1;
END;
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions BEGIN
    UPDATE session_counts SET open = open - 1 WHERE user = OLD.user;
    DELETE FROM session_counts WHERE user = OLD.user AND open <= 0;
END;
