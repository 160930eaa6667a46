DROP INDEX users_with_pending_hash;
DROP TABLE legacy_ids;
DROP TABLE import_rows;
DROP TABLE import_runs;
