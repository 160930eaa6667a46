-- Access tokens that were revoked before they expired, by the hash of their id (docs/adr/0058).
CREATE TABLE revoked_tokens (
    key BLOB NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX revoked_tokens_by_expiry ON revoked_tokens (expires);
