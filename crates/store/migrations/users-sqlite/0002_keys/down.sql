DROP TABLE facts;
DROP TRIGGER users_insert_seal_key;
DROP TRIGGER users_update_seal_key;
DROP TRIGGER apps_insert_seal_key;
DROP TRIGGER apps_update_seal_key;
DROP INDEX users_by_seal_key;
DROP INDEX users_by_salted_at;
ALTER TABLE users DROP COLUMN salted_at;
DROP TABLE keys;
