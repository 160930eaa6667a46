-- Number of times that a captcha's image was shown.
ALTER TABLE captchas ADD COLUMN views BIGINT NOT NULL DEFAULT 0;
