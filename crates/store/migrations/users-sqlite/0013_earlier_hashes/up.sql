-- Imported hashes that are not wrapped in argon2id: empty after `stele migrate`.
CREATE INDEX users_with_earlier_hash ON users (number) WHERE substr(verifier, 1, 5) = '{raw}';
