-- Salted proofs that were accepted, where their timestamps need not be fresh (STELE_TIMESTAMP_SKEW=0): a store that may
-- be emptied must not be what remembers them. Instants are microseconds.
CREATE TABLE used_proofs (
    key BYTEA PRIMARY KEY NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX used_proofs_by_expiry ON used_proofs (expires);
