DROP TABLE facts;
ALTER TABLE users DROP CONSTRAINT users_seal_key;
ALTER TABLE apps DROP CONSTRAINT apps_seal_key;
DROP INDEX users_by_seal_key;
DROP INDEX users_by_salted_at;
ALTER TABLE users DROP COLUMN salted_at;
DROP TABLE keys;
