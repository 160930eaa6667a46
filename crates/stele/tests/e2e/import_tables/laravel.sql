-- users of Laravel 12 (database/migrations/0001_01_01_000000_create_users_table.php) with soft deletes, and data of our own. Hashes
-- by PHP 8.2's password_hash.
CREATE DATABASE laravel CHARACTER SET utf8mb4;
USE laravel;
CREATE TABLE `users` (
  `id` bigint unsigned NOT NULL AUTO_INCREMENT,
  `name` varchar(255) NOT NULL,
  `email` varchar(255) NOT NULL,
  `email_verified_at` timestamp NULL DEFAULT NULL,
  `password` varchar(255) NOT NULL,
  `remember_token` varchar(100) DEFAULT NULL,
  `created_at` timestamp NULL DEFAULT NULL,
  `updated_at` timestamp NULL DEFAULT NULL,
  `deleted_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `users_email_unique` (`email`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
INSERT INTO users (id, name, email, password, created_at, deleted_at) VALUES
  (1, '赵六', 'bcrypt@laravel.example', '$2y$12$5r3BxYnmON7juCJNvSww4O.N6zMkNgSID02Q4CEuxn9MqdkABwtAa', '2023-03-04 05:06:07', NULL),
  (2, '赵六', 'argon2@laravel.example', '$argon2id$v=19$m=65536,t=4,p=1$VTloY2hvRC53aGZ2M2ZoRQ$CsRudaNM5f3+p6ES9ntMy7y3j4YttJHxtVGzSVNm9Nw', NULL, NULL),
  (3, '赵七', 'deleted@laravel.example', '$2y$12$5r3BxYnmON7juCJNvSww4O.N6zMkNgSID02Q4CEuxn9MqdkABwtAa', NULL, '2024-01-01 00:00:00');
