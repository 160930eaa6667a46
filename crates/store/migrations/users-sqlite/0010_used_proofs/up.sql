-- Used salted proofs, where timestamps need not be fresh (STELE_TIMESTAMP_SKEW=0): the state store, which may lose data,
-- cannot protect against their replay. Times are microseconds.
CREATE TABLE used_proofs (
    key BLOB PRIMARY KEY NOT NULL,
    expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX used_proofs_by_expiry ON used_proofs (expires);
