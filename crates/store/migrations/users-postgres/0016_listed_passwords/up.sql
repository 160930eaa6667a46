-- The operator's own list of common passwords: the first 64 bits of md5(password), as a signed number.
CREATE TABLE listed_passwords (key BIGINT PRIMARY KEY NOT NULL);
