-- Audit log. Times are microseconds; source is a random number of the process that wrote the row, seq its counter.
CREATE TABLE audit (
    at BIGINT NOT NULL,
    source BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    act TEXT NOT NULL,
    proof TEXT,
    purpose TEXT,
    result TEXT NOT NULL,
    -- The number of failures that a merged entry stands for.
    times BIGINT NOT NULL,
    dialect TEXT,
    app TEXT,
    subject_kind TEXT,
    subject TEXT,
    address TEXT,
    request TEXT,
    operator TEXT,
    PRIMARY KEY (at, source, seq)
) WITHOUT ROWID;
CREATE INDEX audit_by_subject ON audit (subject, at) WHERE subject IS NOT NULL;
