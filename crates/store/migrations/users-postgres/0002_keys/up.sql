-- The registered keys: names and fingerprints, never key material.
CREATE TABLE keys (
    name TEXT NOT NULL PRIMARY KEY,
    -- The number of a sealing key.
    seal_id BIGINT UNIQUE,
    -- Absent until the key has decrypted a row.
    probe BYTEA,
    added_at BIGINT NOT NULL,
    works_from BIGINT NOT NULL
);
INSERT INTO keys (name, seal_id, added_at, works_from)
SELECT 'seal-' || id, id, 0, 0
FROM (
    SELECT seal_key_id AS id FROM users WHERE seal_key_id IS NOT NULL
    UNION
    SELECT seal_key_id FROM apps
) AS used;

-- No row can be sealed under a key that is not registered, and no key can be retired while a row is sealed under it.
ALTER TABLE users ADD CONSTRAINT users_seal_key FOREIGN KEY (seal_key_id) REFERENCES keys (seal_id);
ALTER TABLE apps ADD CONSTRAINT apps_seal_key FOREIGN KEY (seal_key_id) REFERENCES keys (seal_id);
CREATE INDEX users_by_seal_key ON users (seal_key_id, number);

-- The user's last login by a salted proof, to within a day.
ALTER TABLE users ADD COLUMN salted_at BIGINT;
CREATE INDEX users_by_salted_at ON users (salted_at) WHERE salted_at IS NOT NULL;

-- Facts that all processes share. salted_ended: when salted logins were disabled.
CREATE TABLE facts (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
