-- The legacy ids that clients of a dialect know. dialect, key: by what these clients find the user; NULL if no client knows
-- the id. key is the canonical form of a UUID, and any other id as it is.
ALTER TABLE legacy_ids ADD COLUMN dialect TEXT;
ALTER TABLE legacy_ids ADD COLUMN key TEXT;
-- For a user who existed before: what the dialect answers, if that is more than the id (id, alias and number, separated by
-- tabs), and the number in it.
ALTER TABLE legacy_ids ADD COLUMN answer TEXT;
ALTER TABLE legacy_ids ADD COLUMN old_number BIGINT;
-- The number of the user to whom the portal would answer this id if no user had it.
ALTER TABLE legacy_ids ADD COLUMN derived_number BIGINT;

-- Earlier programs leave the new columns NULL, so these indexes reject no row of theirs.
-- oldest program: 0014
CREATE UNIQUE INDEX legacy_ids_by_key ON legacy_ids (dialect, key) WHERE dialect IS NOT NULL;
CREATE UNIQUE INDEX legacy_ids_by_old_number ON legacy_ids (old_number) WHERE old_number IS NOT NULL;
CREATE INDEX legacy_ids_by_derived_number ON legacy_ids (derived_number) WHERE derived_number IS NOT NULL;

-- Finds the first legacy id of a user in a dialect without a sort. Every statement that uses the old index can use this one.
DROP INDEX legacy_ids_by_number;
CREATE INDEX legacy_ids_by_number ON legacy_ids (number, dialect, run, position);
