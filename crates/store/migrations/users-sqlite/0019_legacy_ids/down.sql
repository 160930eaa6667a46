DROP INDEX legacy_ids_by_number;
CREATE INDEX legacy_ids_by_number ON legacy_ids (number, source);
DROP INDEX legacy_ids_by_old_number;
DROP INDEX legacy_ids_by_key;
ALTER TABLE legacy_ids DROP COLUMN old_number;
ALTER TABLE legacy_ids DROP COLUMN alias_id;
ALTER TABLE legacy_ids DROP COLUMN key;
ALTER TABLE legacy_ids DROP COLUMN dialect;
