-- Imports of existing users. Times are microseconds since the Unix epoch. Earlier programs never delete a user, so the
-- reference of the new table does not concern them.
-- oldest program: 0014

-- One reading of one source. cursor: the position of the last row that was written.
CREATE TABLE import_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    started_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    finished_at BIGINT,
    undone_at BIGINT,
    cursor BIGINT NOT NULL,
    added BIGINT NOT NULL,
    same BIGINT NOT NULL,
    merged BIGINT NOT NULL,
    refused BIGINT NOT NULL
);
CREATE INDEX import_runs_by_source ON import_runs (source, id);

-- The outcome of each row of a run, for the report. outcome: 1 add, 2 same, 3 merge, 4 refuse.
CREATE TABLE import_rows (
    run BIGINT NOT NULL,
    position BIGINT NOT NULL,
    line BIGINT,
    old_id TEXT NOT NULL,
    outcome SMALLINT NOT NULL,
    refusal TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;

-- The ids that users have in other systems, as the clients of these systems have stored them.
CREATE TABLE legacy_ids (
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    number BIGINT NOT NULL REFERENCES users (number),
    -- The run and the position of the row that brought the id, and a keyed hash of the row.
    run BIGINT NOT NULL,
    position BIGINT NOT NULL,
    content BLOB NOT NULL,
    -- Whether the user existed before.
    merged BOOLEAN NOT NULL,
    PRIMARY KEY (source, id)
) WITHOUT ROWID;
CREATE INDEX legacy_ids_by_number ON legacy_ids (number, source);

-- Imported hashes that wait for argon2id.
CREATE INDEX users_with_pending_hash ON users (number) WHERE substr(verifier, 1, 9) = '{pending}';
