CREATE TABLE session_counts (
    user BLOB NOT NULL PRIMARY KEY,
    open BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO session_counts (user, open) SELECT user, count(*) FROM sessions GROUP BY user;

-- By triggers, so that no statement that ends sessions can forget to count; connections have recursive_triggers on, for
-- REPLACE to be seen as well.
CREATE TRIGGER sessions_opened AFTER INSERT ON sessions BEGIN
    INSERT INTO session_counts (user, open) VALUES (NEW.user, 1) ON CONFLICT (user) DO UPDATE SET open = open + 1;
END;
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions BEGIN
    UPDATE session_counts SET open = open - 1 WHERE user = OLD.user;
    DELETE FROM session_counts WHERE user = OLD.user AND open <= 0;
END;
