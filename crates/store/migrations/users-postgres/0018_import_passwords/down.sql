ALTER TABLE import_runs DROP COLUMN other_hashes;
ALTER TABLE import_runs DROP COLUMN common_passwords;
ALTER TABLE import_runs DROP COLUMN passwords_looked_up;
