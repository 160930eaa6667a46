ALTER TABLE captchas DROP COLUMN views;
