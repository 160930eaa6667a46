-- Times are microseconds since the Unix epoch.

-- AUTOINCREMENT: a number is never reused, even if its user is deleted.
CREATE TABLE users (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE,
    name TEXT,
    phone TEXT,
    email TEXT,
    registered_with TEXT,
    registered_through TEXT NOT NULL,
    registered_at BIGINT NOT NULL,
    alias_id TEXT NOT NULL,
    role SMALLINT NOT NULL,
    disabled BOOLEAN NOT NULL,
    real_name TEXT NOT NULL,
    gender TEXT,
    nickname TEXT NOT NULL,
    avatar_url TEXT NOT NULL,
    enterprise TEXT NOT NULL,
    group_name TEXT NOT NULL,
    organization TEXT NOT NULL,
    department TEXT NOT NULL,
    description TEXT NOT NULL,
    org_id TEXT NOT NULL,
    memo TEXT NOT NULL,
    verifier TEXT NOT NULL,
    seal_key_id BIGINT,
    sealed BLOB,
    epoch BIGINT NOT NULL
);
-- User numbers start at 100001.
INSERT INTO sqlite_sequence (name, seq) VALUES ('users', 100000);

-- Names, phone numbers and e-mail addresses share one namespace: a key belongs to at most one user.
CREATE TABLE identifiers (
    key TEXT NOT NULL PRIMARY KEY,
    number BIGINT NOT NULL REFERENCES users (number)
) WITHOUT ROWID;
CREATE INDEX identifiers_by_number ON identifiers (number);

CREATE TABLE apps (
    name TEXT NOT NULL PRIMARY KEY,
    seal_key_id BIGINT NOT NULL,
    sealed BLOB NOT NULL,
    -- The names of the apps that this app may hand users over to, separated by commas.
    may_token TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE client_tokens (
    name TEXT NOT NULL PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);
