-- How many passwords a run brought: looked up in the lists of common passwords, listed, and hashes that cannot be
-- looked up.
ALTER TABLE import_runs ADD COLUMN passwords_looked_up BIGINT NOT NULL DEFAULT 0;
ALTER TABLE import_runs ADD COLUMN common_passwords BIGINT NOT NULL DEFAULT 0;
ALTER TABLE import_runs ADD COLUMN other_hashes BIGINT NOT NULL DEFAULT 0;
