-- auth_user of Django 5.2 in MySQL (sqlmigrate auth), with data of our own. Hashes by Django 5.2.
CREATE DATABASE django CHARACTER SET utf8mb4;
USE django;
CREATE TABLE `auth_user` (
  `id` integer AUTO_INCREMENT NOT NULL PRIMARY KEY,
  `password` varchar(128) NOT NULL,
  `last_login` datetime(6) NULL,
  `is_superuser` bool NOT NULL,
  `username` varchar(150) NOT NULL UNIQUE,
  `first_name` varchar(150) NOT NULL,
  `last_name` varchar(150) NOT NULL,
  `email` varchar(254) NOT NULL,
  `is_staff` bool NOT NULL,
  `is_active` bool NOT NULL,
  `date_joined` datetime(6) NOT NULL
);
INSERT INTO auth_user VALUES
  (1, 'pbkdf2_sha256$1000000$r16DJvB1tZkLxevjWjPgRJ$hA9/jZ19h05a1DRd7a2FCpjapuIw3eYYNROulc2CtlA=', NULL, 1, 'dj_admin', '三', '张', 'admin@dj.example', 1, 1, '2024-01-02 03:04:05.678901'),
  (2, 'argon2$argon2id$v=19$m=102400,t=2,p=8$TWJUeFhGSEpmQnNDZHFGNEd3WklpZQ$nX2Jc+82e/770M6mPDGKxVnsnp7Q51+M6jFsVh7T/sc', NULL, 0, 'dj_argon2', '', '', 'argon2@dj.example', 0, 1, '2024-01-02 03:04:05.000000'),
  (3, 'bcrypt_sha256$$2b$12$cttEMk.CcGcsUe2APULPV.gzhrcZnhpDH3trW3qoYxNWroKa4fly.', NULL, 0, 'dj_bcrypt', '', '', '', 0, 1, '2024-01-02 03:04:05.000000'),
  (4, 'pbkdf2_sha1$20000$tZL2X6DwGkW84EZmD6WZF1$6jCwe5Gw6xhsoxuMwR1zQsAIq5c=', NULL, 0, 'dj_sha1', '', '', 'sha1@dj.example', 0, 1, '2011-06-07 08:09:10.000000'),
  (5, '!3u2N6N5E162LMFeDuDWSw01hs95M3eTHEH43C06p', NULL, 0, 'dj_ldap', '', '', 'ldap@dj.example', 0, 1, '2024-01-02 03:04:05.000000'),
  (6, 'pbkdf2_sha1$20000$tZL2X6DwGkW84EZmD6WZF1$6jCwe5Gw6xhsoxuMwR1zQsAIq5c=', NULL, 0, 'dj_left', '', '', 'left@dj.example', 0, 0, '2024-01-02 03:04:05.000000'),
  -- Made to exhaust the program that verifies it, and an algorithm that is not supported.
  (7, 'pbkdf2_sha256$1000000000$r16DJvB1tZkLxevjWjPgRJ$hA9/jZ19h05a1DRd7a2FCpjapuIw3eYYNROulc2CtlA=', NULL, 0, 'dj_bomb', '', '', '', 0, 1, '2024-01-02 03:04:05.000000'),
  (8, 'scrypt$16384$abc$8$5$lBdu4ZM3MsNsGPpVdKlqfBYFDnSmXuQtZLgTPbJHbMzHdDCTaTBkNVBtbeyPz1TJQQzQrQy7b0iIG4uYbzd9eQ==', NULL, 0, 'dj_scrypt', '', '', '', 0, 1, '2024-01-02 03:04:05.000000');
