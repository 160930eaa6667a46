-- How often a captcha's picture was shown.
ALTER TABLE captchas ADD COLUMN views BIGINT NOT NULL DEFAULT 0;
