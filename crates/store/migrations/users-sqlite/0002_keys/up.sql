-- The registered keys: names and fingerprints, never key material.
CREATE TABLE keys (
    name TEXT NOT NULL PRIMARY KEY,
    -- The number of a sealing key.
    seal_id BIGINT UNIQUE,
    -- Absent until the key has decrypted a row.
    probe BLOB,
    added_at BIGINT NOT NULL,
    works_from BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO keys (name, seal_id, added_at, works_from)
SELECT 'seal-' || id, id, 0, 0
FROM (
    SELECT seal_key_id AS id FROM users WHERE seal_key_id IS NOT NULL
    UNION
    SELECT seal_key_id FROM apps
);

-- No row can be sealed under a key that is not registered. Triggers, because SQLite cannot add a foreign key to a table.
CREATE TRIGGER users_insert_seal_key BEFORE INSERT ON users
WHEN NEW.seal_key_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM keys WHERE seal_id = NEW.seal_key_id)
BEGIN SELECT RAISE(ABORT, 'the sealing key is not in service'); END;
CREATE TRIGGER users_update_seal_key BEFORE UPDATE OF seal_key_id ON users
WHEN NEW.seal_key_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM keys WHERE seal_id = NEW.seal_key_id)
BEGIN SELECT RAISE(ABORT, 'the sealing key is not in service'); END;
CREATE TRIGGER apps_insert_seal_key BEFORE INSERT ON apps
WHEN NOT EXISTS (SELECT 1 FROM keys WHERE seal_id = NEW.seal_key_id)
BEGIN SELECT RAISE(ABORT, 'the sealing key is not in service'); END;
CREATE TRIGGER apps_update_seal_key BEFORE UPDATE OF seal_key_id ON apps
WHEN NOT EXISTS (SELECT 1 FROM keys WHERE seal_id = NEW.seal_key_id)
BEGIN SELECT RAISE(ABORT, 'the sealing key is not in service'); END;
CREATE INDEX users_by_seal_key ON users (seal_key_id);

-- The user's last login by a salted proof, to within a day.
ALTER TABLE users ADD COLUMN salted_at BIGINT;
CREATE INDEX users_by_salted_at ON users (salted_at) WHERE salted_at IS NOT NULL;

-- Facts that all processes share. salted_ended: when salted logins were disabled.
CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITHOUT ROWID;
