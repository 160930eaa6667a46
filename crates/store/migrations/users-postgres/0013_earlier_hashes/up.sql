-- Imported hashes as earlier builds stored them, to be wrapped in argon2id: empty once `stele migrate` is done.
CREATE INDEX users_with_earlier_hash ON users (number) WHERE substr(verifier, 1, 5) = '{raw}';
